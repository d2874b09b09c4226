package main

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
	"knockkit/protocol"
	"knockkit/protocol/format"
	"knockkit/server/keys"
)

// user sends tokens of a key that `knockd key add` has made.
type user struct {
	s     *served
	first int // the number of its first address
	key   protocol.Key
	count int // of its addresses
	index int
	slot  int64
	last  netip.Addr // of the last call of opens
}

// addKey runs `knockd key add` and reads the link that it prints. The user's addresses begin with a
// number.
func (s *served) addKey(name string, first int) *user {
	s.t.Helper()
	l, err := format.ParseLink(strings.TrimSpace(s.must("key", "add", name, "mysql").Stdout))
	if err != nil {
		s.t.Fatal(err)
	}
	return &user{s: s, first: first, key: l.Key.Key}
}

// knock sends a token that this user has not sent.
func (u *user) knock(from netip.Addr) {
	u.s.t.Helper()
	now := protocol.Slot(time.Now())
	if u.index++; now != u.slot {
		u.slot, u.index = now, 0
	}
	if u.index >= protocol.Indexes {
		u.s.t.Fatalf("%s has no token left", u.key.User)
	}
	token := u.key.Token(now, u.index)
	u.s.port++
	if err := u.s.wire.Inject(lab.Echo(from, u.s.host.Addr4, u.s.port, 1, token[:])); err != nil {
		u.s.t.Fatal(err)
	}
}

// opens reports whether a token opens the port for an address that has not knocked before.
func (u *user) opens() bool {
	u.last = lab.ForgedAddr4(u.first + u.count)
	u.count++
	u.knock(u.last)
	return u.s.answers(u.last)
}

// eachService runs a test on an installed signed profile, with a service and without.
func eachService(t *testing.T, f func(t *testing.T, s *served)) {
	labtest.NeedRoot(t)
	labtest.NeedTUN(t)
	labtest.Need(t, "nft")
	for _, service := range []bool{true, false} {
		t.Run(fmt.Sprintf("service=%v", service), func(t *testing.T) {
			t.Parallel()
			s := newServed(t, "nftables")
			s.profile("mysql", "signed = { carrier = \"icmp\" }\nopen = [\"3306/tcp\"]\n")
			if service {
				s.run().logs("signed profiles are shut")
			} else {
				s.must("install")
			}
			f(t, s)
		})
	}
}

func TestKeysActWhenTheCommandReturnsWithAServiceAndWithout(t *testing.T) {
	eachService(t, func(t *testing.T, s *served) {
		alice, bob := s.addKey("alice", 1000), s.addKey("bob", 2000)
		if !alice.opens() || !bob.opens() {
			t.Error("a new key does not open")
		}
		had := bob.last
		s.must("key", "disable", "bob", "mysql")
		if bob.opens() {
			t.Error("a disabled key opens")
		}
		if s.answers(had) {
			t.Error("the lease of a disabled user goes on")
		}
		s.must("key", "enable", "bob", "mysql")
		if bob.opens() {
			t.Error("a token that may have been used opens once more")
		}
		alice.knock(had)
		s.must("key", "remove", "alice", "mysql", "--keep-leases")
		if alice.opens() {
			t.Error("a removed key opens")
		}
		if !s.answers(had) {
			t.Error("a lease that was to go on is over")
		}
		if out := s.must("status", "--json").Stdout; !strings.Contains(out, `"user": "alice"`) {
			t.Errorf("status does not say who has opened:\n%s", out)
		}
	})
}

func TestAKeyThatIsRemovedOpensNothingWhereTheStateIsBroken(t *testing.T) {
	eachService(t, func(t *testing.T, s *served) {
		alice, bob := s.addKey("alice", 1000), s.addKey("bob", 2000)
		if !alice.opens() {
			t.Error("a new key does not open")
		}
		state := keys.StoreOf(s.config, func(string) string { return "" }).File()
		if err := os.WriteFile(state, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if out := s.must("key", "remove", "alice", "mysql"); !strings.Contains(out.Stderr, state+" is broken") {
			t.Errorf("it says\n%s", out.Stderr)
		}
		if s.answers(alice.last) || alice.opens() {
			t.Error("the removed key opens, or its lease goes on")
		}
		if !bob.opens() {
			t.Error("a key that stays does not open")
		}
	})
}

func TestADisabledKeyIsDisabledOnceMoreWhereThatWasCutShort(t *testing.T) {
	eachService(t, func(t *testing.T, s *served) {
		alice := s.addKey("alice", 1000)
		if !alice.opens() {
			t.Error("a new key does not open")
		}
		had := alice.last
		s.must("key", "disable", "alice", "mysql", "--keep-leases")
		if !s.answers(had) {
			t.Error("a lease that was to go on is over")
		}
		if said := s.must("key", "disable", "alice", "mysql").Stderr; !strings.Contains(said, "is disabled already") {
			t.Errorf("it says %q", said)
		}
		if s.answers(had) {
			t.Error("the lease of a disabled user goes on")
		}
	})
}

// TestKeysOfAnotherFolderLeaveThoseOfTheServiceAlone: as where somebody tries something out.
func TestKeysOfAnotherFolderLeaveThoseOfTheServiceAlone(t *testing.T) {
	labtest.NeedRoot(t)
	labtest.NeedTUN(t)
	labtest.Need(t, "nft")
	s := newServed(t, "nftables")
	text := "signed = { carrier = \"icmp\" }\nopen = [\"3306/tcp\"]\n"
	s.profile("mysql", text)
	s.run().logs("signed profiles are shut")
	alice := s.addKey("alice", 1000)
	if !alice.opens() {
		t.Error("a new key does not open")
	}
	theirs, other := s.config, t.TempDir()
	s.config = other
	s.profile("mysql", text)
	for _, args := range [][]string{{"add", "alice", "mysql"}, {"disable", "alice", "mysql"}, {"enable", "alice", "mysql"}, {"remove", "alice", "mysql"}} {
		out := s.must(append([]string{"key"}, args...)...)
		if !strings.Contains(out.Stderr, "the service works with the keys of "+theirs+", and with none of "+other) {
			t.Errorf("key %s says\n%s", args[0], out.Stderr)
		}
	}
	if !s.answers(alice.last) || !alice.opens() {
		t.Error("the service's key opens no more, or its lease is over")
	}
}

func TestASecondKeyOfAUserOpensBesideTheFirstUntilThatIsRemoved(t *testing.T) {
	eachService(t, func(t *testing.T, s *served) {
		old, young := s.addKey("alice", 1000), s.addKey("alice", 2000)
		if !old.opens() || !young.opens() {
			t.Error("one of two keys does not open")
		}
		had := old.last
		s.must("key", "remove", "alice", "mysql", "--id", old.key.ID())
		if old.opens() {
			t.Error("the removed key opens")
		}
		if !young.opens() || !s.answers(had) {
			t.Error("what was to stay has gone")
		}
		s.must("key", "remove", "alice", "mysql")
		if young.opens() || s.answers(had) {
			t.Error("the user's last key, or a lease, is left")
		}
	})
}

func TestOfTwoUsersBehindOneAddressEachIsNamedAndOneStays(t *testing.T) {
	eachService(t, func(t *testing.T, s *served) {
		alice, bob := s.addKey("alice", 1000), s.addKey("bob", 2000)
		from := lab.ForgedAddr4(5)
		alice.knock(from)
		bob.knock(from)
		for _, row := range []string{"10.9.0.5 alice mysql open", "10.9.0.5 bob mysql open"} {
			if out := s.must("status").Stdout; !strings.Contains(narrow(out), row) {
				t.Errorf("no %q in\n%s", row, out)
			}
		}
		s.must("key", "remove", "alice", "mysql")
		if !s.answers(from) {
			t.Error("the other is shut out")
		}
		if out := s.must("status").Stdout; strings.Contains(out, "alice") || !strings.Contains(out, "bob") {
			t.Errorf("after alice has gone:\n%s", out)
		}
		s.must("revoke", "mysql", "--user", "bob")
		if s.answers(from) {
			t.Error("the lease goes on without a user")
		}
	})
}
