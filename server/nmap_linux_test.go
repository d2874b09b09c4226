package server_test

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
)

const (
	scanners     = 4  // at once, each on a host of its own
	scansOfAHost = 13 // on each backend and policy: more than 50 in all
)

// TestDefaultScansOfNmapOpenNothing has the real nmap with its 1,000 default ports
// in random order: 7, 8000 and 3306 are among them.
func TestDefaultScansOfNmapOpenNothing(t *testing.T) {
	labtest.Need(t, "nmap", "ping")
	eachBackend(t, func(t *testing.T, name string) {
		for _, policy := range []string{"ACCEPT", "DROP"} {
			t.Run("policy "+policy, func(t *testing.T) {
				s, clients := scannedSite(t, name)
				if policy == "DROP" {
					s.dropByDefault()
				}
				s.scanAll(clients, policy == "DROP")
				for _, src := range []netip.Addr{clients[0].Addr4, clients[0].Addr6} { // or all this would prove nothing
					s.send(src, ping, tcp(7), tcp(8000))
					if !s.holds("mysql", src) {
						t.Errorf("the right sequence does not open for %s", src)
					}
				}
			})
		}
	})
}

// scannedSite is a site with the article's profile, and client hosts on one network
// with it.
func scannedSite(t *testing.T, name string) (*site, []*lab.Host) {
	t.Helper()
	s := newSite(t, name, strict())
	s.listen(3306)
	s.install(article(t, ""))
	var clients []*lab.Host
	for i := range scanners {
		clients = append(clients, labtest.NewHost(t, fmt.Sprintf("scanner%d", i)))
	}
	labtest.Network(t, append(clients[:len(clients):len(clients)], s.host)...)
	return s, clients
}

// scanAll runs the scans, some at a time, and looks after each round who holds a lease.
func (s *site) scanAll(clients []*lab.Host, silent bool) {
	s.t.Helper()
	for round := 0; round*len(clients) < scansOfAHost; round++ {
		var scans sync.WaitGroup
		for i, client := range clients {
			if n := round*len(clients) + i; n < scansOfAHost {
				scans.Go(func() { s.scan(client, n, silent) })
			}
		}
		scans.Wait()
		for _, x := range s.sources() {
			if x.State == "open" {
				s.t.Errorf("a scan opened %s for %s", x.Profile, x.Address)
			}
		}
	}
}

// scan runs scan number n. Where the host answers nothing nmap's own ping would end
// it, so there it scans without one, right after a ping of the system's.
func (s *site) scan(from *lab.Host, n int, silent bool) {
	network := s.host.Interfaces[len(s.host.Interfaces)-1]
	to, family := network.Addr4.Addr(), "-4"
	if n%4 == 3 {
		to, family = network.Addr6.Addr(), "-6"
	}
	// Quick, so that a scan is over before a position is: that favours the scanner.
	args := []string{"-n", "-T5", "--max-retries", "1", "--min-rate", "3000"}
	if to.Is6() {
		args = append(args, "-6")
	}
	if silent || n%2 == 0 {
		args = append(args, "-Pn")
		labtest.Run(s.t, from, "", "ping", family, "-c", "1", "-W", "0.2", to.String()) // may be unanswered
	} else {
		args = append(args, "--disable-arp-ping") // which would replace the ping by one of the link
	}
	out := labtest.Run(s.t, from, "", "nmap", append(args, to.String())...)
	if out.Code != 0 || !strings.Contains(out.Stdout, "1 host up") {
		s.t.Errorf("nmap %v scanned nothing: %s%s", args, out.Stdout, out.Stderr)
	}
	if strings.Contains(out.Stdout, "3306/tcp open ") {
		s.t.Errorf("nmap %v found the port open:\n%s", args, out.Stdout)
	}
}
