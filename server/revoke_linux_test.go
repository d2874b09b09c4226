package server_test

import (
	"net/netip"
	"testing"

	"knockkit/internal/lab/labtest"
)

// TestRevokeEndsConnectionsOnlyWithCutAndOnlyThoseOfTheHolder has three hosts on
// one Ethernet, and real connections between them.
func TestRevokeEndsConnectionsOnlyWithCutAndOnlyThoseOfTheHolder(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		s := newSite(t, name, strict())
		one, other := labtest.NewHost(t, "one"), labtest.NewHost(t, "other")
		labtest.Network(t, s.host, one, other)
		s.install(article(t, ""))
		gated, free := labtest.Listen(t, s.host, "tcp", "[::]:3306"), labtest.Listen(t, s.host, "tcp", "[::]:80")
		for _, family := range []struct {
			name       string
			one, other netip.Addr
		}{{"ipv4", one.Addr4, other.Addr4}, {"ipv6", one.Addr6, other.Addr6}} {
			t.Run(family.name, func(t *testing.T) {
				s.t = t
				s.grant("mysql", family.one, 0)
				s.grant("mysql", family.other, 0)
				mine, theirs := s.connect(one, gated, family.one), s.connect(other, gated, family.other)
				elsewhere := s.connect(one, free, family.one)
				goesOn := func(name string, c *talk) {
					t.Helper()
					if err := c.say("still there?"); err != nil {
						t.Errorf("%s: %v", name, err)
					}
				}
				if held, ended := s.revoke("mysql", family.one, false); !held || ended != 0 {
					t.Errorf("without cut: held %v, ended %d", held, ended)
				}
				goesOn("the connection, without cut", mine)
				s.expect("silent", family.one, 3306)
				// The lease is over, the connection is not: it can be cut all the same.
				if held, ended := s.revoke("mysql", family.one, true); held || ended != 1 {
					t.Errorf("with cut: held %v, ended %d; want no lease, and 1 connection", held, ended)
				}
				labtest.Eventually(t, soon, func() error { return ended(mine.server) })
				labtest.Eventually(t, soon, func() error { return ended(mine.client) })
				goesOn("another host's connection", theirs)
				goesOn("the holder's connection to another port", elsewhere)
				if _, ended := s.revoke("mysql", family.one, true); ended != 0 {
					t.Errorf("%d connections ended once more", ended)
				}
			})
		}
	})
}
