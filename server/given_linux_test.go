package server_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"knockkit/internal/kernel/backend"
	"knockkit/internal/lab/labtest"
	"knockkit/protocol"
)

// TestAKnockLeavesALeaseGivenByHandAsItIs: a client knocks out of habit, and whom
// somebody has let in for eight hours would have one.
func TestAKnockLeavesALeaseGivenByHandAsItIs(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		s := newSite(t, name, strict())
		client := s.neighbour()
		service := labtest.Listen(t, s.host, "tcp", "[::]:3306")
		s.install(article(t, "cut = true\nlease = \"2s\""))
		sources := []netip.Addr{client.Addr4, client.Addr6}
		var talks []*talk
		for _, src := range sources {
			s.grant("mysql", src, 8*time.Hour)
			s.send(src, ping, tcp(7), tcp(8000))
			talks = append(talks, s.connect(client, service, src))
			s.leaves(src, 7*time.Hour)
		}
		s.install(parse(t, "aaa", "sequence = [\"1001/tcp\"]\nopen = [\"80/tcp\"]"))
		until := time.Now().Add(2500 * time.Millisecond)
		labtest.Eventually(t, soon, func() error {
			if time.Now().Before(until) {
				return errors.New("the knocks' leases go on")
			}
			return nil
		})
		for i, src := range sources {
			if err := talks[i].say("after the knock's lease"); err != nil {
				t.Errorf("%s: the connection was cut: %v", src, err)
			}
			if err := s.connect(client, service, src).say("a new one"); err != nil {
				t.Errorf("%s: %v", src, err)
			}
			s.leaves(src, 7*time.Hour)
			if held, _ := s.revoke("mysql", src, false); !held || s.holds("mysql", src) {
				t.Errorf("%s held a lease: %v, and it was revoked", src, held)
			}
		}
	})
}

// leaves fails unless the source has one lease, with at least so much time left.
func (s *site) leaves(src netip.Addr, least time.Duration) {
	s.t.Helper()
	n := 0
	for _, x := range s.sources() {
		if x.State == backend.Open && x.Address.Addr() == src {
			n++
			if x.Left < least {
				s.t.Errorf("%s has %s left of a lease, not %s", src, x.Left, least)
			}
		}
	}
	if n != 1 {
		s.t.Errorf("%s has %d leases, not one", src, n)
	}
}

// TestTheGateAsksForLeasesGivenByHandWhileSomebodyHasOne is about nftables: a look-up
// more for every stranger is for no longer than it has to be.
func TestTheGateAsksForLeasesGivenByHandWhileSomebodyHasOne(t *testing.T) {
	s := newSite(t, "nftables", strict())
	s.listen(3306)
	mysql := article(t, "close = \"999/tcp\"")
	s.install(mysql)
	asks := func() bool {
		return strings.Contains(s.run("nft", "list", "table", "inet", "knockd"), "lease given by hand")
	}
	for _, f := range protocol.Families() {
		one := forged(f, 1)
		s.install(mysql)
		if asks() {
			t.Error("nobody was given a lease, and the gate asks for one")
		}
		s.grant("mysql", one, 8*time.Hour)
		s.install(mysql)
		if !asks() {
			t.Error("a commit has lost the lease")
		}
		s.leaves(one, 7*time.Hour)
		s.expect("open", one, 3306)
		s.send(one, tcp(999))
		s.expect("silent", one, 3306)
		s.grant("mysql", one, 8*time.Hour)
		s.grant("mysql", one, 0)
		if n := s.sources(); len(n) != 1 || n[0].Left > time.Hour {
			t.Errorf("in the place of eight hours there is to be one: %+v", n)
		}
		s.revoke("mysql", one, false)
	}
}
