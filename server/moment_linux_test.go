package server_test

import (
	"net/netip"
	"testing"

	"knockkit/internal/lab"
)

// Two processors handle two packets of a source in a position at the same moment. Both
// see the position; whatever they make of it, neither gets past the gate. The host
// itself accepts everything, and nobody listens: a packet that passes is reset.
func TestTwoConnectionsInTheSameMomentDoNotPassTheGate(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		for _, c := range []struct {
			name string
			src  func(int) netip.Addr
		}{{"ipv4", lab.ForgedAddr4}, {"ipv6", lab.ForgedAddr6}} {
			t.Run(c.name, func(t *testing.T) {
				s := newSite(t, name, strict())
				s.install(parse(t, "mysql", `
					sequence = ["7/tcp", "8/tcp"]
					open = ["3306/tcp"]`))
				const rounds = 400 // with rules that fall off their end for the slower packet, the first few let one through
				for i := range rounds {
					src := c.src(i)
					s.send(src, tcp(7))
					if err := s.wire.InjectAtOnce(s.packet(src, tcp(3306)), s.packet(src, tcp(3306))); err != nil {
						t.Fatal(err)
					}
					if answers := s.answers(); len(answers) > 0 {
						t.Fatalf("round %d: %+v came through", i, answers[0])
					}
				}
				if answers := s.send(c.src(rounds), tcp(9)); len(answers) != 1 {
					t.Errorf("a port without a gate answered %d times, want once: would a packet that passed be seen?", len(answers))
				}
			})
		}
	})
}

// A lease for one connection is one that a packet takes with it.
func TestALeaseForOneConnectionLetsOneOfTwoIn(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		s := newSite(t, name, strict())
		s.install(parse(t, "mysql", `
			sequence = ["7/tcp"]
			open = ["3306/tcp"]
			once = true`))
		const rounds = 400
		for i := range rounds {
			src := lab.ForgedAddr4(i)
			s.send(src, tcp(7))
			if err := s.wire.InjectAtOnce(s.packet(src, tcp(3306)), s.packet(src, tcp(3306))); err != nil {
				t.Fatal(err)
			}
			if answers := s.answers(); len(answers) != 1 {
				t.Fatalf("round %d: %d connections came in", i, len(answers))
			}
		}
		if left := s.sources(); len(left) > 0 {
			t.Errorf("leases that are left: %+v", left)
		}
	})
}
