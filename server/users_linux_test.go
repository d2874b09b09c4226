package server_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"knockkit/internal/lab/labtest"
	"knockkit/protocol"
	"knockkit/server"
	"knockkit/server/events"
)

// key adds a key, whose tokens open from now on.
func (s *signedSite) key(profile, user string, n uint32) protocol.Key {
	s.t.Helper()
	k := newKey(profile, user, n)
	s.keys = append(s.keys, k)
	s.fresh(k)
	return k
}

// expectUsers fails unless the leases are these, each as "profile address user user …", the last user
// first.
func (s *signedSite) expectUsers(want ...string) {
	s.t.Helper()
	var got []string
	for _, src := range s.sources() {
		words := []string{src.Profile, protocol.PrefixText(src.Address)}
		for _, u := range src.Users {
			words = append(words, u.Name)
			if u.Left < 0 || !u.Unlimited && !src.Unlimited && u.Left > src.Left {
				s.t.Errorf("%s has %s left of a lease that has %s", u.Name, u.Left, src.Left)
			}
		}
		got = append(got, strings.Join(words, " "))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		s.t.Errorf("leases of %q, want %q", got, want)
	}
}

// revokeUser ends what a user has opened of admin.
func (s *signedSite) revokeUser(user string, cut bool) (r server.Revoked, told []events.Act) {
	s.t.Helper()
	s.srv.Acted = func(_ context.Context, acts []events.Act) { told = append(told, acts...) }
	defer func() { s.srv.Acted = nil }()
	s.do(func() (err error) {
		r, err = s.srv.RevokeUser(s.t.Context(), "admin", user, cut)
		return err
	})
	return r, told
}

func (s *signedSite) forgetUsers() {
	s.t.Helper()
	s.do(func() error { return s.srv.ForgetUsers(s.t.Context()) })
}

// older makes an element of a set, of an hour, so many minutes older.
func (s *signedSite) older(set string, minutes int, key ...any) {
	s.t.Helper()
	element := strings.TrimSuffix(strings.ReplaceAll(fmt.Sprintln(key...), " ", " . "), "\n")
	s.nft(fmt.Sprintf("delete element inet knockd %[1]s { %[2]s }\nadd element inet knockd %[1]s { %[2]s timeout 1h expires %[3]dm }", set, element, 60-minutes))
}

func (s *signedSite) nft(text string) {
	s.t.Helper()
	labtest.MustRun(s.t, s.host, text, "nft", "-f", "-")
}

// who returns the elements that say who has opened leases.
func (s *signedSite) who() string {
	s.t.Helper()
	return s.run("nft", "list", "set", "inet", "knockd", "who4") + s.run("nft", "list", "set", "inet", "knockd", "who6")
}

// The numbers that the kernel knows the keys by: admin is the first profile, and alice's its first key.
const (
	aliceNumber = "1:1"
	bobNumber   = "1:2"
)

// names returns the name of a set for the family of an address.
func setFor(name string, addr netip.Addr) string {
	return strings.Replace(name, "4", map[bool]string{true: "4", false: "6"}[addr.Is4()], 1)
}

func TestALeaseHasTheUsersWhoHaveOpenedIt(t *testing.T) {
	s := newSignedSite(t, "")
	alice, web, bob, second := s.keys[0], s.keys[1], s.key("admin", "bob", 10), s.key("admin", "alice", 11)
	for i, one := range []netip.Addr{forged4(1), forged6(1)} {
		for _, k := range []protocol.Key{alice, web, bob, second} {
			s.use(one, k, 0, i)
			s.expect("open", one, port(k))
		}
		s.older(setFor("who4", one), 10, one, aliceNumber)
		s.older(setFor("who4", one), 20, one, bobNumber)
	}
	s.grant("admin", forged4(2), 0)
	s.expectUsers("admin 10.9.0.1 alice alice bob", "web 10.9.0.1 alice", "admin "+forged6(1).String()+" alice alice bob", "web "+forged6(1).String()+" alice", "admin 10.9.0.2")
	for _, src := range s.sources() {
		if len(src.Users) == 3 && (src.Users[0].Key != second.ID() || src.Users[1].Key != alice.ID() || src.Users[1].Left > 50*time.Minute || src.Users[1].Left < 45*time.Minute) {
			t.Errorf("users %+v", src.Users)
		}
	}
}

// TestALeaseOfAPrefixHasUsersToo: the kernel has them by the prefix.
func TestALeaseOfAPrefixHasUsersToo(t *testing.T) {
	s := newSignedSite(t, "prefix = { ipv4 = 24, ipv6 = 64 }\n")
	bob := s.key("admin", "bob", 10)
	for i, one := range []netip.Addr{forged4(1), forged6(1)} {
		s.use(one, s.keys[0], 0, i)
		s.use(one, bob, 0, i)
		s.expect("open", one, 2222)
		net := protocol.PrefixText(s.sources()[0].Address)
		s.older(setFor("who4", one), 10, strings.Split(net, "/")[0], aliceNumber)
		if r, _ := s.revokeUser("bob", false); len(r.GoesOn) != 1 || protocol.PrefixText(r.GoesOn[0].Address) != net {
			t.Errorf("revoked %+v", r)
		}
		if r, _ := s.revokeUser("alice", false); len(r.Ended) != 1 || protocol.PrefixText(r.Ended[0]) != net {
			t.Errorf("revoked %+v", r)
		}
		s.expect("silent", one, 2222)
	}
}

// TestOfAUserAllThatTheKeysHaveOpenedIsRevoked, and nothing of others: a lease ends with its last user.
func TestOfAUserAllThatTheKeysHaveOpenedIsRevoked(t *testing.T) {
	s := newSignedSite(t, "")
	alice, web, bob, second := s.keys[0], s.keys[1], s.key("admin", "bob", 10), s.key("admin", "alice", 11)
	alone, both, byHand := forged4(1), forged4(2), forged4(3)
	s.use(alone, alice, 0, 0)
	s.use(alone, web, 0, 0)
	s.use(forged6(1), second, 0, 0)
	s.use(both, alice, 0, 1)
	s.use(both, second, 0, 1)
	s.use(both, bob, 0, 1)
	s.older("who4", 20, both, bobNumber)
	s.use(byHand, alice, 0, 2)
	s.grant("admin", byHand, 2*time.Hour) // in the place of what the knock has given
	s.use(byHand, alice, 0, 3)

	r, told := s.revokeUser("alice", false)
	if fmt.Sprint(r.Ended) != fmt.Sprintf("[%s %s]", single(alone), single(forged6(1))) || len(r.GoesOn) != 2 {
		t.Errorf("revoked %+v", r)
	}
	for _, x := range r.GoesOn {
		switch {
		case x.Address == single(both) && len(x.Users) == 1 && x.Users[0].Name == "bob" && x.Left <= 40*time.Minute && x.Left > 35*time.Minute:
		case x.Address == single(byHand) && len(x.Users) == 0 && x.Left > time.Hour:
		default:
			t.Errorf("goes on: %+v", x)
		}
	}
	var acts []string
	for _, a := range told {
		acts = append(acts, fmt.Sprint(a.Kind, a.Profile, a.Address, a.User))
	}
	scope := fmt.Sprint(events.Scope, "admin", netip.Prefix{}, "alice")
	if want := fmt.Sprint(events.Revoke, "admin", single(alone), "alice"); len(acts) != 3 || acts[0] != scope || acts[1] != want {
		t.Errorf("told %q, want %q, %q and another", acts, scope, want)
	}
	s.expectUsers("web 10.9.0.1 alice", "admin 10.9.0.2 bob", "admin 10.9.0.3")
	s.expect("silent", alone, 2222)
	s.expect("silent", forged6(1), 2222)
	s.expect("open", alone, 8443)
	s.expect("open", both, 2222)
	s.expect("open", byHand, 2222)
	for _, src := range s.sources() { // no longer than bob had knocked for
		if src.Address == single(both) && (src.Left > 40*time.Minute || src.Left < 35*time.Minute) {
			t.Errorf("bob has %s left", src.Left)
		}
	}
	if who := s.who(); strings.Contains(who, aliceNumber+" ") {
		t.Errorf("the kernel still has alice:\n%s", who)
	}
	if r, told := s.revokeUser("alice", true); len(r.Ended)+len(r.GoesOn) > 0 || len(told) != 1 || told[0].Kind != events.Scope {
		t.Errorf("revoked twice: %+v", r)
	}
}

// TestAnotherEndOfALeaseTakesItsUsersAlong: whoever opens next is the only one.
func TestAnotherEndOfALeaseTakesItsUsersAlong(t *testing.T) {
	s := newSignedSite(t, "")
	bob := s.key("admin", "bob", 10)
	for i, one := range []netip.Addr{forged4(1), forged6(1)} {
		s.use(one, s.keys[0], 0, i)
		s.expectUsers("admin " + one.String() + " alice")
		if held, _ := s.revoke("admin", one, false); !held {
			t.Error("no lease was revoked")
		}
		s.use(one, bob, 0, i)
		s.expectUsers("admin " + one.String() + " bob")
		s.revoke("admin", one, false)
	}
	s.use(forged4(1), s.keys[0], 0, 5)
	s.install(parse(t, "admin", strings.Replace(adminSigned, "2222", "2223", 1))) // given for another port
	s.expectUsers()
	s.use(forged4(1), bob, 0, 5)
	s.expectUsers("admin 10.9.0.1 bob")
}

func TestALeaseForOneConnectionHasTheLastUserOnly(t *testing.T) {
	s := newSignedSite(t, "once = true\n")
	bob, one := s.key("admin", "bob", 10), forged4(1)
	s.use(one, s.keys[0], 0, 0)
	s.use(one, bob, 0, 0)
	s.older("who4", 10, one, aliceNumber)
	s.expectUsers("admin 10.9.0.1 bob")
	s.forgetUsers()
	if who := s.who(); strings.Contains(who, aliceNumber+" ") || !strings.Contains(who, bobNumber+" ") {
		t.Errorf("the kernel has\n%s", who)
	}
	if r, _ := s.revokeUser("bob", false); len(r.Ended) != 1 {
		t.Errorf("revoked %+v", r)
	}
	s.expectUsers()
}

// TestWhoHasOpenedALeaseThatIsOverIsForgotten, where the kernel does not do it in time: with `renew`,
// and of a lease that was used up.
func TestWhoHasOpenedALeaseThatIsOverIsForgotten(t *testing.T) {
	s := newSignedSite(t, "renew = true\n")
	bob := s.key("admin", "bob", 10)
	for i, one := range []netip.Addr{forged4(1), forged6(1)} {
		s.use(one, s.keys[0], 0, i)
		s.use(one, bob, 0, i)
	}
	s.use(forged4(2), bob, 0, 3)
	s.forgetUsers() // nothing
	s.expectUsers("admin 10.9.0.1 alice bob", "admin "+forged6(1).String()+" alice bob", "admin 10.9.0.2 bob")
	for _, src := range s.sources() {
		if u := src.Users[0]; u.Unlimited || u.Left != src.Left {
			t.Errorf("with `renew`, %+v has another time than the lease (%s)", u, src.Left)
		}
	}
	if r, _ := s.revokeUser("bob", false); len(r.Ended) != 1 || len(r.GoesOn) != 2 || r.GoesOn[0].Left < 50*time.Minute {
		t.Errorf("revoked %+v", r)
	}
	s.nft(fmt.Sprintf("delete element inet knockd open4-admin { %s }\ndelete element inet knockd open6-admin { %s }", forged4(1), forged6(1)))
	s.forgetUsers()
	if who := s.who(); strings.Contains(who, " . ") && strings.Contains(who, "elements") {
		t.Errorf("the kernel still has\n%s", who)
	}
}

// TestUsersOutliveWhatLeasesOutlive: other rules, a new time, and a flush by another tool, of which a
// service puts the leases back.
func TestUsersOutliveWhatLeasesOutlive(t *testing.T) {
	s := newSignedSite(t, "")
	bob := s.key("admin", "bob", 10)
	for i, one := range []netip.Addr{forged4(1), forged6(1)} {
		s.use(one, s.keys[0], 0, i)
		s.use(one, bob, 0, i)
		s.older(setFor("who4", one), 10, one, aliceNumber)
		s.older(setFor("who4", one), 20, one, bobNumber)
		s.older(setFor("open4-admin", one), 10, one)
	}
	all := []string{"admin 10.9.0.1 alice bob", "admin " + forged6(1).String() + " alice bob"}
	s.expectUsers(all...)
	s.install(parse(t, "mysql", "sequence = [\"7/tcp\", \"8000/tcp\"]\nopen = [\"3306/tcp\"]\n"))
	s.expectUsers(all...)
	profiles := []*protocol.Profile{parse(t, "admin", adminSigned+"lease = \"30m\"")}
	s.install(profiles...)
	s.expectUsers(all...)
	for _, src := range s.sources() {
		if left := src.Users[1].Left; left > 10*time.Minute || left < 5*time.Minute {
			t.Errorf("bob has %s left of 30 minutes, 20 after the knock", left)
		}
	}
	carried := s.sources()
	s.nft("delete table inet knockd")
	s.do(func() error {
		_, err := s.srv.Install(t.Context(), profiles, server.InstallOptions{Exactly: true, Carried: carried})
		return err
	})
	s.expectUsers(all...)
	for range 3 { // the keys get numbers of their own
		s.refresh()
		s.now = s.now.Add(protocol.SlotTime)
		s.forgetUsers()
	}
	s.expectUsers(all...)
	s.use(forged4(1), s.keys[0], 0, 3)
	s.expectUsers(all...)
	if r, _ := s.revokeUser("alice", false); len(r.GoesOn) != 2 || r.GoesOn[0].Left > 10*time.Minute {
		t.Errorf("revoked %+v", r)
	}
	if r, _ := s.revokeUser("bob", false); len(r.Ended) != 2 {
		t.Errorf("revoked %+v", r)
	}
	s.expectUsers()
}

// TestATrialThatIsUndoneGivesLeasesBackWithTheirUsers, but for those whose user was revoked in it.
func TestATrialThatIsUndoneGivesLeasesBackWithTheirUsers(t *testing.T) {
	const mysql = "sequence = [\"7/tcp\", \"8000/tcp\"]\nopen = [\"3306/tcp\"]\n"
	for _, c := range []struct {
		name  string
		tried func(t *testing.T) []*protocol.Profile
	}{
		{"another time", func(t *testing.T) []*protocol.Profile {
			return []*protocol.Profile{parse(t, "admin", adminSigned+"lease = \"1m\"")}
		}},
		{"a longer time", func(t *testing.T) []*protocol.Profile {
			return []*protocol.Profile{parse(t, "admin", adminSigned+"lease = \"2h\"")}
		}},
		{"another port", func(t *testing.T) []*protocol.Profile {
			return []*protocol.Profile{parse(t, "admin", strings.Replace(adminSigned, "2222", "2223", 1))}
		}},
		{"no signed profile", func(t *testing.T) []*protocol.Profile {
			return []*protocol.Profile{parse(t, "mysql", mysql), parse(t, "admin", "sequence = [\"7001/tcp\"]\nopen = [\"2223/tcp\"]"), parse(t, "web", "sequence = [\"7002/tcp\"]\nopen = [\"80/tcp\"]")}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSignedSite(t, "")
			bob := s.key("admin", "bob", 10)
			s.use(forged4(1), s.keys[0], 0, 0)
			s.use(forged6(1), s.keys[0], 0, 1)
			s.use(forged6(1), bob, 0, 1)
			s.older("who6", 10, forged6(1), bobNumber)
			all := []string{"admin 10.9.0.1 alice", "admin " + forged6(1).String() + " alice bob"}
			s.expectUsers(all...)
			undo := s.try(c.tried(t)...)
			s.forgetUsers()
			undo()
			s.expectUsers(all...)
			s.expect("open", forged4(1), 2222)
			for _, src := range s.sources() {
				if left := src.Users[0].Left; left < 55*time.Minute {
					t.Errorf("alice has %s left", left)
				}
			}
			if c.name == "no signed profile" {
				return // nobody can be revoked
			}
			undo = s.try(c.tried(t)...)
			s.revokeUser("alice", false)
			undo()
			s.expectUsers("admin " + forged6(1).String() + " bob")
			s.expect("silent", forged4(1), 2222)
		})
	}
}

func TestOnlyASignedProfileThatIsInstalledHasUsers(t *testing.T) {
	s := newSignedSite(t, "")
	s.install(parse(t, "mysql", "sequence = [\"7/tcp\", \"8000/tcp\"]\nopen = [\"3306/tcp\"]\n"))
	for name, want := range map[string]error{"mysql": server.ErrNotSigned, "other": server.ErrNotInstalled} {
		s.do(func() error {
			if _, err := s.srv.RevokeUser(t.Context(), name, "alice", false); !errors.Is(err, want) {
				t.Errorf("%s: %v", name, err)
			}
			return nil
		})
	}
}

// TestCutEndsConnectionsOfHoldersWhoseLeaseIsOver, and none of a lease that goes on for others.
func TestCutEndsConnectionsOfHoldersWhoseLeaseIsOver(t *testing.T) {
	s := newSignedSite(t, "")
	s.install(parse(t, "admin", strings.Replace(adminSigned, "2222", "2224", 1)))
	one, other := labtest.NewHost(t, "one"), labtest.NewHost(t, "other")
	labtest.Network(t, s.host, one, other)
	bob, gated := s.key("admin", "bob", 10), labtest.Listen(t, s.host, "tcp", "[::]:2224")
	s.use(one.Addr4, s.keys[0], 0, 0)
	s.use(other.Addr4, s.keys[0], 0, 1)
	s.use(other.Addr4, bob, 0, 1)
	mine, shared := s.connect(one, gated, one.Addr4), s.connect(other, gated, other.Addr4)
	if r, _ := s.revokeUser("alice", true); len(r.Ended) != 1 || len(r.GoesOn) != 1 || r.Connections != 1 {
		t.Errorf("revoked %+v", r)
	}
	labtest.Eventually(t, soon, func() error { return ended(mine.server) })
	if err := shared.say("still there?"); err != nil {
		t.Errorf("the connection of a lease that bob shares: %v", err)
	}
}
