package server_test

import (
	"fmt"
	"net/netip"
	"testing"

	"knockkit/internal/lab"
	"knockkit/protocol"
)

// TestAScanOfEveryPortInOrderOpensNothing has the article's profile, whose ports
// ascend: 7, 8000, 3306. A machine whose steps check only the one before it opens
// on every such scan that is quick enough.
func TestAScanOfEveryPortInOrderOpensNothing(t *testing.T) {
	orders := []struct {
		name string
		port func(i int) uint16
	}{
		{"ascending", func(i int) uint16 { return uint16(i) }},
		{"descending", func(i int) uint16 { return uint16(lastPort + 1 - i) }},
	}
	eachBackend(t, func(t *testing.T, name string) {
		for _, policy := range []string{"ACCEPT", "DROP"} {
			for _, order := range orders {
				t.Run(fmt.Sprintf("%s, policy %s", order.name, policy), func(t *testing.T) {
					t.Parallel()
					s := newSite(t, name, strict())
					s.listen(3306)
					if policy == "DROP" {
						s.dropByDefault()
					}
					s.install(article(t, ""))
					for _, src := range everyone() {
						s.send(src, ping)
						s.checkScan(src, order.port, policy == "DROP")
						s.send(src, ping, tcp(7), tcp(8000)) // or all this would prove nothing
						if !s.holds("mysql", src) {
							t.Error("the right sequence does not open")
						}
					}
				})
			}
		}
	})
}

const lastPort = 65535

// checkScan sends a SYN to every port and looks at what comes back: that is proof
// that all of them reached the host's rules.
func (s *site) checkScan(src netip.Addr, port func(i int) uint16, silent bool) {
	s.t.Helper()
	s.answers()
	resets := 0
	s.port++
	for i := 1; i <= lastPort; i++ {
		if err := s.wire.Inject(lab.SYN(netip.AddrPortFrom(src, s.port), netip.AddrPortFrom(s.dest(src), port(i)))); err != nil {
			s.t.Fatal(err)
		}
		if i%1000 != 0 && i != lastPort { // fewer than the wire can hold
			continue
		}
		for _, p := range s.answers() {
			if p.Proto != protocol.TCP || !p.Flags.Has(lab.FlagRST) {
				s.t.Fatalf("the scan is answered with %v", p)
			}
			resets++
		}
	}
	want := lastPort - 1 // the gate of 3306 is silent
	if silent {
		want = 0
	}
	if resets != want {
		s.t.Errorf("%d ports are refused, want %d", resets, want)
	}
	if s.holds("mysql", src) {
		s.t.Errorf("the scan of %s opened", src)
	}
	s.expect("silent", src, 3306)
}
