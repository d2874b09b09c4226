package server_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"knockkit/internal/lab/labtest"
	"knockkit/protocol"
	"knockkit/server/events"
)

// watched returns what a feed on the site tells. It has listened for long enough to know that no knock of
// before is among the recent ones.
func (s *signedSite) watched() <-chan events.Item {
	s.t.Helper()
	clock := events.SystemClock()
	feed := events.NewFeed(clock, func(ctx context.Context) (is events.Snapshot, err error) {
		is.Began = clock()
		err = s.host.Do(func() (err error) {
			is.Reading, err = s.srv.Read(ctx, 0)
			return err
		})
		return is, err
	})
	listens := make(chan events.Role, 8)
	feed.OnRole = func(r events.Role, _ error) { listens <- r }
	w := feed.Hub.Watch()
	ctx, cancel := context.WithCancel(s.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.host.Do(func() error { return feed.Run(ctx) }) }()
	s.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			s.t.Error(err)
		}
	})
	if r := <-listens; r != events.Listener {
		s.t.Fatalf("the feed %s", r)
	}
	const enough = time.Second // how long a reading may take
	listening := clock().Up
	labtest.Eventually(s.t, 10*time.Second, func() error {
		if so := clock().Up - listening; so < enough {
			return fmt.Errorf("it listens for %s", so)
		}
		return nil
	})
	return w.C
}

// tells fails unless these notices come next, each as "kind profile address user".
func (s *signedSite) tells(from <-chan events.Item, want ...string) {
	s.t.Helper()
	for _, w := range want {
		select {
		case i := <-from:
			n := i.Notice
			if got := strings.TrimSpace(fmt.Sprintln(n.Kind, n.Profile, n.Address, n.User)); got != w {
				s.t.Errorf("told %q (%s), not %q", got, i, w)
			}
		case <-time.After(10 * time.Second):
			s.t.Fatalf("nothing is told, where %q should be", w)
		}
	}
}

// TestWhoeverKnocksIsNamed though others have the lease already, of that moment too: by what the kernel has beside the leases, where those have no end, cover
// a prefix, are for one connection, or are renewed.
func TestWhoeverKnocksIsNamed(t *testing.T) {
	for _, c := range []struct{ name, more string }{
		{"for a time", "lease = \"1h\"\n"},
		{"without end", "lease = \"0\"\n"},
		{"of a prefix", "prefix = { ipv4 = 24, ipv6 = 64 }\n"},
		{"for one connection", "once = true\nlease = \"1m\"\n"},
		{"renewed", "renew = true\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSignedSite(t, c.more)
			alice, web, bob := s.keys[0], s.keys[1], s.key("admin", "bob", 10)
			from := s.watched()
			one, six := forged4(1), forged6(1)
			s.use(one, alice, 0, 1)
			s.tells(from, "grant admin 10.9.0.1 alice")
			s.use(one, bob, 0, 1)
			s.tells(from, "grant admin 10.9.0.1 bob")
			s.use(six, bob, 0, 2)
			s.tells(from, "grant admin "+six.String()+" bob")
			s.use(one, web, 0, 1)
			s.tells(from, "grant web 10.9.0.1 alice")
		})
	}
}

// TestUsersWhoKnockAtOnceAreNamedInTheirOrder: their reports come together.
func TestUsersWhoKnockAtOnceAreNamedInTheirOrder(t *testing.T) {
	s := newSignedSite(t, "")
	alice, bob := s.keys[0], s.key("admin", "bob", 10)
	from := s.watched()
	s.use(forged4(1), alice, 0, 0)
	s.tells(from, "grant admin 10.9.0.1 alice")
	var packets [][]byte
	add := func(src netip.Addr, k protocol.Key, index int) {
		token := k.Token(protocol.Slot(s.now), index)
		packets = append(packets, s.knock(src, carrier(k), token[:]))
	}
	for i := range 7 {
		add(forged4(10+i), alice, i+1)
		add(forged4(20+i), bob, i+1)
	}
	s.inject(packets...)
	for i := range 7 {
		s.tells(from, fmt.Sprintf("grant admin 10.9.0.%d alice", 10+i), fmt.Sprintf("grant admin 10.9.0.%d bob", 20+i))
	}
}

// TestAUserWhoIsRevokedIsNamedByWhatEnds, and the next knock names who it is of.
func TestAUserWhoIsRevokedIsNamedByWhatEnds(t *testing.T) {
	s := newSignedSite(t, "")
	alice, bob := s.keys[0], s.key("admin", "bob", 10)
	from := s.watched()
	s.srv.Acted = events.Tell
	s.use(forged4(1), alice, 0, 0)
	s.tells(from, "grant admin 10.9.0.1 alice")
	s.use(forged4(2), bob, 0, 0)
	s.tells(from, "grant admin 10.9.0.2 bob")
	s.do(func() error {
		_, err := s.srv.RevokeUser(t.Context(), "admin", "alice", false)
		return err
	})
	s.tells(from, "revoke admin 10.9.0.1 alice")
	s.do(func() error {
		_, err := s.srv.Revoke(t.Context(), "admin", single(forged4(2)), false)
		return err
	})
	s.tells(from, "revoke admin 10.9.0.2 bob")
	s.use(forged4(1), bob, 0, 1)
	s.tells(from, "grant admin 10.9.0.1 bob")
}
