package server_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"knockkit/internal/kernel/backend"
	"knockkit/internal/lab"
	"knockkit/protocol"
	"knockkit/server"
)

// share does what other nodes have said.
func (s *site) share(will server.Sharing) (shared server.Shared) {
	s.t.Helper()
	s.do(func() (err error) {
		shared, err = s.srv.Share(s.t.Context(), backend.Depth{Keys: true}, func(*server.Reading) server.Sharing { return will })
		return err
	})
	return shared
}

// leaseOf is a lease of mysql.
func leaseOf(holder netip.Addr, left time.Duration) server.Source {
	return server.Source{Profile: "mysql", Address: single(holder), State: server.Open, Left: left}
}

func TestWhatOtherNodesSayGivesAndEndsLeasesAllAtOnce(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		s := newSite(t, name, strict())
		s.listen(3306)
		s.install(article(t, "lease = \"10m\""))
		ends := map[netip.Addr]time.Duration{}
		var will server.Sharing
		for i, left := range []time.Duration{10 * time.Minute, 10*time.Minute - time.Second, 3 * time.Minute, time.Hour} {
			for _, holder := range []netip.Addr{forged4(i), forged6(i)} {
				lease := leaseOf(holder, left)
				lease.ByHand = left > 10*time.Minute
				will.Give, ends[holder] = append(will.Give, lease), left
			}
		}
		if shared := s.share(will); len(shared.Given) != len(will.Give) || len(shared.LeftOut) > 0 {
			t.Errorf("%+v", shared)
		}
		for holder, left := range ends {
			s.expect("open", holder, 3306)
			if is := s.left("mysql", holder); is < left-2*time.Second || is > left+2*time.Second {
				t.Errorf("%s has %v left, not %v", holder, is, left)
			}
		}
		again := server.Sharing{Give: []server.Source{leaseOf(forged4(0), 2*time.Minute), leaseOf(forged6(3), 10*time.Minute)}} // shorter ones
		for _, i := range []int{1, 2} {
			again.End = append(again.End, leaseOf(forged4(i), 0), leaseOf(forged6(i), 0))
		}
		s.share(again)
		for _, holder := range []netip.Addr{forged4(1), forged6(1), forged4(2), forged6(2)} {
			s.expect("silent", holder, 3306)
		}
		for holder, left := range map[netip.Addr]time.Duration{forged4(0): 2 * time.Minute, forged6(3): 10 * time.Minute, forged6(0): 10 * time.Minute} {
			if s.expect("open", holder, 3306); s.left("mysql", holder) > left+2*time.Second {
				t.Errorf("%s still has %v", holder, s.left("mysql", holder))
			}
		}
	})
}

func TestALeaseOfAnotherNodeEndsWhenItsTimeIsOver(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		s := newSite(t, name, strict())
		s.listen(3306)
		s.install(article(t, "lease = \"10m\""))
		given, holders := time.Now(), []netip.Addr{forged4(1), forged6(1)}
		s.share(server.Sharing{Give: []server.Source{leaseOf(holders[0], 4*time.Second), leaseOf(holders[1], 4*time.Second)}})
		for _, holder := range holders {
			s.expect("open", holder, 3306)
		}
		for _, holder := range holders { // with iptables it ends at a whole second
			if lasted := s.untilSilent(holder, 3306).Sub(given); lasted < 3*time.Second {
				t.Errorf("%s: shut after %v", holder, lasted)
			}
		}
	})
}

func TestWhatAHostCannotHoldIsLeftOutAndTheRestIsGiven(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		s := newSite(t, name, strict())
		s.listen(3306)
		s.install(article(t, "from = [\"10.9.0.0/16\"]\n"))
		other := leaseOf(forged4(1), time.Hour)
		other.Profile = "web"
		wrong := []server.Source{other, leaseOf(netip.MustParseAddr("192.0.2.1"), time.Hour), leaseOf(forged6(1), time.Hour)}
		shared := s.share(server.Sharing{Give: append(wrong, leaseOf(forged4(2), time.Hour))})
		if len(shared.Given) != 1 || len(shared.LeftOut) != len(wrong) {
			t.Errorf("%+v", shared)
		}
		for _, err := range shared.LeftOut {
			if address := new(server.AddressError); !errors.As(err, &address) {
				t.Errorf("%v is no AddressError", err)
			}
		}
		s.expect("open", forged4(2), 3306)
		s.expect("silent", forged4(1), 3306)
	})
}

func TestALeaseIsGivenWithItsUsers(t *testing.T) {
	s := newSignedSite(t, "")
	alice := s.keys[0]
	lease := server.Source{Profile: "admin", Address: single(forged4(1)), State: server.Open, Left: 20 * time.Minute,
		Users: []server.User{{Name: "alice", Key: alice.ID(), Left: 20 * time.Minute}, {Name: "carol", Key: "0badcafe", Left: 10 * time.Minute}}}
	for range 2 { // the second time in the place of the first
		s.share(server.Sharing{Give: []server.Source{lease}})
		s.expectUsers("admin " + forged4(1).String() + " alice carol")
	}
	if r, _ := s.revokeUser("alice", false); len(r.GoesOn) != 1 || r.GoesOn[0].Left > 10*time.Minute {
		t.Errorf("carol, whose key is not known here, goes on: %+v", r)
	}
	if r, _ := s.revokeUser("carol", false); !slices.Equal(r.Ended, []netip.Prefix{single(forged4(1))}) {
		t.Errorf("%+v", r)
	}
	s.share(server.Sharing{Give: []server.Source{lease}})
	lease.Users = lease.Users[1:]
	lease.Left = 10 * time.Minute
	s.share(server.Sharing{Give: []server.Source{lease}}) // alice's part was ended elsewhere
	s.expectUsers("admin " + forged4(1).String() + " carol")
	s.share(server.Sharing{End: []server.Source{lease}})
	s.expectUsers()
}

// BenchmarkShare is one lease beside others, and many at once.
func BenchmarkShare(b *testing.B) {
	for _, name := range []string{"nftables", "iptables"} {
		for _, beside := range []int{0, 10_000} {
			b.Run(fmt.Sprintf("%s/one beside %d", name, beside), func(b *testing.B) { benchmarkShare(b, name, beside, 1) })
		}
		b.Run(name+"/10000 at once", func(b *testing.B) { benchmarkShare(b, name, 0, 10_000) })
	}
}

func benchmarkShare(b *testing.B, name string, beside, at int) {
	h, err := lab.New("server")
	if err != nil {
		b.Fatal(err)
	}
	defer h.Close()
	opened, _, err := server.OpenBackend(b.Context(), name)
	if err != nil {
		b.Fatal(err)
	}
	srv := server.New(opened, strict())
	leases := func(from, n int) (all []server.Source) {
		for i := range n {
			all = append(all, leaseOf(forged4(from+i), time.Hour))
		}
		return all
	}
	share := func(all []server.Source) error {
		_, err := srv.Share(b.Context(), backend.Depth{Profile: "mysql", Family: protocol.IPv4}, func(*server.Reading) server.Sharing { return server.Sharing{Give: all} })
		return err
	}
	if err := h.Do(func() error {
		_, err := srv.Install(b.Context(), []*protocol.Profile{article(b, "")}, server.InstallOptions{})
		return errors.Join(err, share(leases(20_000, beside)))
	}); err != nil {
		b.Fatal(err)
	}
	all := leases(0, at)
	for b.Loop() {
		if err := h.Do(func() error { return share(all) }); err != nil {
			b.Fatal(err)
		}
	}
}
