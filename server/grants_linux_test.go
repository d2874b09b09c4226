package server_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"knockkit/internal/kernel/backend"
	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
	"knockkit/server"
)

func forged4(i int) netip.Addr { return lab.ForgedAddr4(i) }
func forged6(i int) netip.Addr { return lab.ForgedAddr6(i) }

// single is an address as a prefix.
func single(addr netip.Addr) netip.Prefix { return netip.PrefixFrom(addr, addr.BitLen()) }

// tryGrant gives a lease: for d, or for the profile's own time when d is 0.
func (s *site) tryGrant(profile string, addr netip.Addr, d time.Duration) (covers netip.Prefix, err error) {
	s.t.Helper()
	err = s.host.Do(func() error {
		granted, err := s.srv.Grant(s.t.Context(), profile, single(addr), d)
		covers = granted.Covers
		return err
	})
	return covers, err
}

func (s *site) grant(profile string, addr netip.Addr, d time.Duration) netip.Prefix {
	s.t.Helper()
	covers, err := s.tryGrant(profile, addr, d)
	if err != nil {
		s.t.Fatal(err)
	}
	return covers
}

// revoke ends a lease, and with cut the connections through it.
func (s *site) revoke(profile string, addr netip.Addr, cut bool) (held bool, ended int) {
	s.t.Helper()
	s.do(func() error {
		r, err := s.srv.Revoke(s.t.Context(), profile, single(addr), cut)
		held, ended = len(r.Ended) > 0, r.Connections
		return err
	})
	return held, ended
}

// untilSilent waits until the address gets in no more, and returns when that was. It looks twice: on a
// processor that is taken away for a moment, an answer is late for one look.
func (s *site) untilSilent(src netip.Addr, port uint16) time.Time {
	s.t.Helper()
	labtest.Eventually(s.t, soon, func() error {
		for range 2 {
			if got := s.verdict(src, port); got != "silent" {
				return fmt.Errorf("port %d is %s to %s", port, got, src)
			}
		}
		return nil
	})
	return time.Now()
}

func TestAGrantOpensForOneAddressUntilItIsRevoked(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		s := newSite(t, name, strict())
		s.listen(3306)
		s.install(article(t, ""))
		eachFamily(t, func(t *testing.T, one, other netip.Addr) {
			s.t = t
			if covers := s.grant("mysql", one, 0); covers.Addr() != one || !covers.IsSingleIP() {
				t.Errorf("the lease covers %s", covers)
			}
			s.expect("open", one, 3306)
			s.expect("silent", other, 3306)
			if held, _ := s.revoke("mysql", other, false); held {
				t.Error("the other is said to have held a lease")
			}
			s.expect("open", one, 3306)
			if held, _ := s.revoke("mysql", one, false); !held {
				t.Error("the holder is said to have held none")
			}
			s.expect("silent", one, 3306)
			if held, _ := s.revoke("mysql", one, false); held {
				t.Error("a lease was ended twice")
			}
		})
	})
}

// TestAGrantForATimeOfItsOwnEndsWhenItShould has one shorter and longer than the profile's lease.
func TestAGrantForATimeOfItsOwnEndsWhenItShould(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		s := newSite(t, name, strict())
		s.listen(3306)
		s.install(article(t, "lease = \"2s\""))
		granted := time.Now()
		for _, src := range []netip.Addr{forged4(1), forged6(1)} {
			s.grant("mysql", src, time.Second) // shorter
		}
		for _, src := range []netip.Addr{forged4(2), forged6(2)} {
			s.grant("mysql", src, 0)
			s.grant("mysql", src, time.Hour) // longer, and in the place of the first
		}
		for _, src := range []netip.Addr{forged4(3), forged6(3)} {
			s.grant("mysql", src, 0)
		}
		for _, src := range []netip.Addr{forged4(2), forged6(2), forged4(3), forged6(3)} {
			s.expect("open", src, 3306)
		}
		s.install(article(t, "lease = \"2s\""), parse(t, "aaa", "sequence = [\"1001/tcp\"]\nopen = [\"80/tcp\"]"))
		for _, src := range []netip.Addr{forged4(1), forged6(1)} {
			if took := s.untilSilent(src, 3306).Sub(granted); took > 2500*time.Millisecond {
				t.Errorf("%s: a grant for 1s ended after %s", src, took)
			}
		}
		for _, src := range []netip.Addr{forged4(3), forged6(3)} {
			s.untilSilent(src, 3306)
		}
		for _, src := range []netip.Addr{forged4(2), forged6(2)} {
			s.expect("open", src, 3306)
			if n := len(s.sources()); n != 2 {
				t.Errorf("%d leases are left, not 2: each holder has one, whatever was before", n)
			}
		}
		if held, _ := s.revoke("mysql", forged4(2), false); !held {
			t.Error("a grant for a time of its own is no lease to revoke")
		}
		s.expect("silent", forged4(2), 3306)
		s.grant("mysql", forged6(2), 0) // the profile's own time in the place of the hour
		s.untilSilent(forged6(2), 3306)
	})
}

// TestTheRuleOfAGrantIsSweptAway: with iptables such a lease is a rule, which has
// no effect any more when its time is over, and would stay for ever.
func TestTheRuleOfAGrantIsSweptAwayByTheNextCommit(t *testing.T) {
	eachFlavour(t, func(t *testing.T) {
		s := newSite(t, "iptables", strict())
		s.listen(3306)
		s.install(article(t, ""))
		s.grant("mysql", forged4(1), time.Second)
		s.grant("mysql", forged4(2), 30*time.Minute)
		rules := func() int { return strings.Count(s.run("iptables", "-S", "KNOCKD-GATE-mysql"), "--datestop") }
		s.untilSilent(forged4(1), 3306)
		if n := rules(); n != 2 {
			t.Errorf("%d rules before the commit, not 2", n)
		}
		if in := s.installed(); len(in.Drift) > 0 {
			t.Errorf("a grant that is over is called drift: %q", in.Drift)
		}
		s.install(article(t, ""))
		if n := rules(); n != 1 {
			t.Errorf("%d rules after it, not 1", n)
		}
		s.expect("open", forged4(2), 3306)
	})
}

func TestAGrantIsRefusedWhereItCouldNotWork(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		s := newSite(t, name, strict())
		s.install(parse(t, "inside", "sequence = [\"1001/tcp\"]\nopen = [\"80/tcp\"]\nfrom = [\"10.9.0.0/24\"]"),
			parse(t, "four", "sequence = [\"1002/tcp\"]\nopen = [\"81/tcp\"]\nfamily = \"ipv4\""))
		for _, c := range []struct {
			name, profile, addr, want string
		}{
			{"outside of from", "inside", "10.9.1.1", "10.9.1.1 is outside the profile's `from`: its gate would not let it in"},
			{"no gate of the family", "four", "2001:db8:9::1", "2001:db8:9::1 cannot hold a lease of four, which has no gate for ipv6"},
		} {
			t.Run(c.name, func(t *testing.T) {
				s.t = t
				_, err := s.tryGrant(c.profile, netip.MustParseAddr(c.addr), 0)
				if address := new(server.AddressError); !errors.As(err, &address) || err.Error() != c.want {
					t.Errorf("got %v", err)
				}
			})
		}
		s.t = t
		if _, err := s.tryGrant("nobody", forged4(1), 0); !errors.Is(err, backend.ErrNotInstalled) {
			t.Errorf("of a profile that is not installed: %v", err)
		}
		s.grant("four", netip.MustParseAddr("::ffff:10.9.0.1"), 0) // IPv4, whichever way it is written
		if !s.holds("four", netip.MustParseAddr("10.9.0.1")) {
			t.Error("an IPv4 address in IPv6 form got no lease")
		}
	})
}

func TestAGrantForATimeOfItsOwnIsRefusedForOnceWithIptables(t *testing.T) {
	eachFlavour(t, func(t *testing.T) {
		s := newSite(t, "iptables", strict())
		s.install(parse(t, "single", "sequence = [\"1003/tcp\"]\nopen = [\"82/tcp\"]\nonce = true"))
		if _, err := s.tryGrant("single", forged4(1), time.Minute); !errors.Is(err, backend.ErrUnsupported) {
			t.Errorf("got %v", err)
		}
		s.grant("single", forged4(1), 0)
	})
}

func TestAGrantToOneAddressCoversThePrefixOfTheProfile(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		s := newSite(t, name, strict())
		s.listen(80)
		s.install(parse(t, "mobile", "sequence = [\"1001/tcp\"]\nopen = [\"80/tcp\"]\nprefix = { ipv4 = 24, ipv6 = 64 }"))
		for _, c := range []struct{ family, given, covers, near, far string }{
			{"ipv4", "10.9.7.1", "10.9.7.0/24", "10.9.7.200", "10.9.8.1"},
			{"ipv6", "2001:db8:9:7::1", "2001:db8:9:7::/64", "2001:db8:9:7::200", "2001:db8:9:8::1"},
		} {
			for _, d := range []time.Duration{0, time.Minute} {
				t.Run(fmt.Sprintf("%s for %s", c.family, d), func(t *testing.T) {
					s.t = t
					if covers := s.grant("mobile", netip.MustParseAddr(c.given), d); covers.String() != c.covers {
						t.Errorf("it covers %s", covers)
					}
					s.expect("open", netip.MustParseAddr(c.near), 80)
					s.expect("silent", netip.MustParseAddr(c.far), 80)
					if held, _ := s.revoke("mobile", netip.MustParseAddr(c.near), false); !held {
						t.Error("a neighbour's lease is the same lease")
					}
					s.expect("silent", netip.MustParseAddr(c.given), 80)
				})
			}
		}
	})
}
