package server_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
	"knockkit/protocol"
	"knockkit/server"
)

// signedSite is a site with signed profiles, whose clock the test sets.
type signedSite struct {
	*site
	now     time.Time
	keys    []protocol.Key
	highest int64 // the record on disk
}

const (
	adminSigned = "signed = { carrier = \"icmp\" }\nopen = [\"2222/tcp\"]\n"
	webSigned   = "signed = { carrier = \"40123/udp\" }\nopen = [\"8443/tcp\"]\n"
)

// newSignedSite returns a site with the profiles admin and web, and a key of alice for each. Its clock
// stands at the middle of a slot.
func newSignedSite(t *testing.T, more string) *signedSite {
	t.Helper()
	labtest.NeedTUN(t)
	labtest.NeedRoot(t)
	labtest.Need(t, "nft")
	s := &signedSite{site: newSite(t, "nftables", strict()), now: protocol.SlotStart(protocol.Slot(time.Now())).Add(protocol.SlotTime / 2)}
	s.listen(2222)
	s.listen(8443)
	s.install(parse(t, "admin", adminSigned+more), parse(t, "web", webSigned+more))
	s.keys = []protocol.Key{newKey("admin", "alice", 1), newKey("web", "alice", 2)}
	for range 3 { // in the first minute, a kernel before may have had the tokens
		s.refresh()
		s.now = s.now.Add(protocol.SlotTime)
	}
	s.refresh()
	return s
}

// newKey returns a key that differs from those of other numbers.
func newKey(profile, user string, n uint32) protocol.Key {
	k := protocol.Key{Profile: profile, User: user, Audience: "db1"}
	binary.BigEndian.PutUint32(k.Secret[:], n)
	return k
}

// refresh is what the service does at each slot.
func (s *signedSite) refresh() server.KeyState { return s.refreshed(server.KeyRefresh{}) }

// fresh is what `knockd key add` does.
func (s *signedSite) fresh(keys ...protocol.Key) server.KeyState {
	var ids []string
	for _, k := range keys {
		ids = append(ids, k.ID())
	}
	return s.refreshed(server.KeyRefresh{Fresh: ids})
}

func (s *signedSite) refreshed(r server.KeyRefresh) (state server.KeyState) {
	s.t.Helper()
	r.Now, r.Keys, r.Highest = s.now, s.keys, s.highest
	r.Record = func(slot int64) error { s.highest = slot; return nil }
	s.do(func() (err error) {
		state, err = s.srv.RefreshKeys(s.t.Context(), r)
		return err
	})
	return state
}

// carrier is what a token of the key travels in.
func carrier(k protocol.Key) protocol.Knock {
	if k.Profile == "admin" {
		return ping
	}
	return udp(40123)
}

// port is what the key's profile opens.
func port(k protocol.Key) uint16 {
	if k.Profile == "admin" {
		return 2222
	}
	return 8443
}

// knock is a packet with a payload, as a new flow.
func (s *signedSite) knock(src netip.Addr, in protocol.Knock, payload []byte) []byte {
	s.site.port++
	if in.Proto == protocol.ICMP {
		return lab.Echo(src, s.dest(src), s.site.port, 1, payload)
	}
	return lab.UDP(netip.AddrPortFrom(src, s.site.port), netip.AddrPortFrom(s.dest(src), in.Port), payload)
}

// use sends a token of a key, of a slot that is so many away from the site's own.
func (s *signedSite) use(src netip.Addr, k protocol.Key, away int64, index int) {
	s.t.Helper()
	token := k.Token(protocol.Slot(s.now)+away, index)
	s.inject(s.knock(src, carrier(k), token[:]))
}

func TestATokenOpensOnceForWhoSendsItFirst(t *testing.T) {
	s := newSignedSite(t, "")
	for _, k := range s.keys {
		eachFamily(t, func(t *testing.T, one, other netip.Addr) {
			s.t = t
			index := 1
			if one.Is6() {
				index = 2
			}
			s.expect("silent", one, port(k))
			s.use(one, k, 0, index)
			s.expect("open", one, port(k))
			s.expect("silent", other, port(k))
			s.use(other, k, 0, index)
			s.expect("silent", other, port(k))
			s.do(func() error {
				_, err := s.srv.Revoke(t.Context(), k.Profile, single(one), false)
				return err
			})
			s.use(one, k, 0, index)
			s.expect("silent", one, port(k))
			s.use(one, k, 0, index+4)
			s.expect("open", one, port(k))
		})
	}
}

func TestATokenIsWorthNothingElsewhereOrAtAnotherTime(t *testing.T) {
	s := newSignedSite(t, "")
	admin, web := s.keys[0], s.keys[1]
	slot := protocol.Slot(s.now)
	of := func(k protocol.Key, change func(*protocol.Key), away int64) []byte {
		change(&k)
		token := k.Token(slot+away, 0)
		return token[:]
	}
	same := func(*protocol.Key) {}
	for i, wrong := range []struct {
		what    string
		in      protocol.Knock
		payload []byte
		port    uint16
	}{
		{"another server's token", ping, of(admin, func(k *protocol.Key) { k.Audience = "db2" }, 0), 2222},
		{"another profile's token", ping, of(admin, func(k *protocol.Key) { k.Profile = "web" }, 0), 2222},
		{"the token of a key that the server does not have", ping, of(admin, func(k *protocol.Key) { k.Secret[31]++ }, 0), 2222},
		{"a token of two slots before", ping, of(admin, same, -2), 2222},
		{"a token of two slots after", ping, of(admin, same, 2), 2222},
		{"a token of three slots after, 95 s at least", ping, of(admin, same, 4), 2222},
		{"the right token in another carrier", udp(40123), of(admin, same, 0), 2222},
		{"another right token in a ping", ping, of(web, same, 0), 8443},
		{"the right token to another port", udp(40124), of(web, same, 0), 8443},
		{"half a token", ping, of(admin, same, 0)[:15], 2222},
		{"a token not at the beginning", ping, append([]byte{0}, of(admin, same, 0)...), 2222},
		{"no payload", ping, nil, 2222},
	} {
		src := lab.ForgedAddr4(100 + i)
		s.inject(s.knock(src, wrong.in, wrong.payload))
		if got := s.verdict(src, wrong.port); got != "silent" {
			t.Errorf("%s: a connection is %s", wrong.what, got)
		}
	}
	for i, away := range []int64{-1, 0, 1} {
		src := lab.ForgedAddr4(200 + i)
		token := admin.Token(slot+away, 7)
		s.inject(s.knock(src, ping, append(token[:], "what follows does not matter"...)))
		s.expect("open", src, 2222)
	}
}

func TestOfTwoPacketsWithOneTokenInTheSameMomentOneOpens(t *testing.T) {
	const rounds = 1000
	s := newSignedSite(t, "")
	s.keys = nil
	for i := range uint32(rounds / protocol.Indexes) {
		s.keys = append(s.keys, newKey("admin", fmt.Sprintf("user%d", i), 1000+i))
	}
	s.fresh(s.keys...)
	for i := range rounds {
		k := s.keys[i/protocol.Indexes]
		token := k.Token(protocol.Slot(s.now), i%protocol.Indexes)
		one, other := s.knock(lab.ForgedAddr4(2*i), ping, token[:]), s.knock(lab.ForgedAddr4(2*i+1), ping, token[:])
		if err := s.wire.InjectAtOnce(one, other); err != nil {
			t.Fatal(err)
		}
	}
	holders := map[netip.Addr]bool{}
	for _, src := range s.sources() {
		holders[src.Address.Addr()] = true
	}
	for i := range rounds {
		if one, other := holders[lab.ForgedAddr4(2*i)], holders[lab.ForgedAddr4(2*i+1)]; one == other {
			t.Errorf("round %d: the one has a lease: %v, the other: %v", i, one, other)
		}
	}
}

// after is what may happen between a knock and its replay.
type after struct {
	what string
	do   func(s *signedSite)
	shut time.Duration // for how long at most, also for whoever has a right to knock
}

func afters() []after {
	return []after{
		{"nothing", func(s *signedSite) {}, 0},
		{"the service killed and started", func(s *signedSite) { s.refresh() }, 0},
		{"rules flushed and repaired", func(s *signedSite) {
			s.run("nft", "flush", "ruleset")
			s.install(parse(s.t, "admin", adminSigned), parse(s.t, "web", webSigned))
		}, time.Minute},
		{"rules flushed and the record lost", func(s *signedSite) {
			s.run("nft", "flush", "ruleset")
			s.highest = 0
			s.install(parse(s.t, "admin", adminSigned), parse(s.t, "web", webSigned))
		}, time.Minute},
		{"used tokens flushed", func(s *signedSite) { s.run("nft", "flush", "set", "inet", "knockd", "spent") }, time.Minute},
		{"tokens flushed", func(s *signedSite) { s.run("nft", "flush", "map", "inet", "knockd", "tokens") }, time.Minute},
		{"the record lost", func(s *signedSite) { s.highest = 0 }, 0},
		{"the clock ten minutes back", func(s *signedSite) { s.now = s.now.Add(-10 * time.Minute) }, 11 * time.Minute},
		{"the clock ten minutes back, and rules flushed", func(s *signedSite) {
			s.now = s.now.Add(-10 * time.Minute)
			s.run("nft", "flush", "ruleset")
			s.install(parse(s.t, "admin", adminSigned), parse(s.t, "web", webSigned))
		}, 11 * time.Minute},
		{"a snapshot brought back", func(s *signedSite) { s.refreshed(server.KeyRefresh{Clear: true}) }, time.Minute},
	}
}

func TestAUsedTokenNeverOpensAgainWhateverHappens(t *testing.T) {
	for _, a := range afters() {
		t.Run(a.what, func(t *testing.T) {
			s := newSignedSite(t, "")
			k := s.keys[0]
			used, began := protocol.Slot(s.now), s.now
			// One token is used; another was copied by somebody who kept it from coming in, and is used too.
			for away := int64(-1); away <= 1; away++ {
				s.use(lab.ForgedAddr4(1), k, away, 3)
				s.expect("open", lab.ForgedAddr4(1), 2222)
			}
			a.do(s)
			shift := s.now.Sub(began)
			for _, later := range []time.Duration{time.Second, 31 * time.Second, 61 * time.Second, 89 * time.Second, 11 * time.Minute} {
				s.now = began.Add(shift + later)
				s.refresh()
				for away := int64(-1); away <= 1; away++ {
					token := k.Token(used+away, 3)
					for i, src := range []netip.Addr{lab.ForgedAddr4(1), lab.ForgedAddr4(2)} {
						before := s.grants()
						s.inject(s.knock(src, ping, token[:]))
						if s.grants() != before {
							t.Errorf("after %s, the token of slot %+d opens again for address %d", later, away, i+1)
						}
					}
				}
			}
		})
	}
}

// grants counts the tokens that the kernel has taken, by the elements of the used ones.
func (s *signedSite) grants() int {
	s.t.Helper()
	out := s.run("nft", "-j", "list", "set", "inet", "knockd", "who4")
	n := 0
	for i := range len(out) {
		if i+9 < len(out) && out[i:i+9] == `"expires"` {
			n++
		}
	}
	return n
}

func TestARightKnockOpensAgainWithinAMinuteAfterALoss(t *testing.T) {
	for _, a := range afters() {
		t.Run(a.what, func(t *testing.T) {
			s := newSignedSite(t, "")
			k := s.keys[0]
			a.do(s)
			state := s.refresh()
			if (a.shut > 0) == state.Opens.IsZero() || !state.Opens.IsZero() && state.Opens.Sub(s.now) > a.shut {
				t.Errorf("it may be shut for %s, and opens at %s by the clock of %s", a.shut, state.Opens, s.now)
			}
			src := lab.ForgedAddr4(7)
			if a.shut > 0 {
				s.use(src, k, 0, 0)
				s.expect("silent", src, 2222)
				for ; s.now.Before(state.Opens); s.now = s.now.Add(protocol.SlotTime) {
					s.refresh()
				}
				if state = s.refresh(); !state.Opens.IsZero() {
					t.Errorf("it is still shut until %s at %s", state.Opens, s.now)
				}
			}
			s.use(src, k, 0, 1)
			s.expect("open", src, 2222)
		})
	}
}

func TestATokenOpensAlsoInAFlowThatConntrackKnows(t *testing.T) {
	s := newSignedSite(t, "")
	src := lab.ForgedAddr4(1)
	first := s.knock(src, ping, make([]byte, 56))
	if got := s.inject(first); len(got) != 1 { // answered: the entry is established
		t.Fatalf("the host answers a ping with %v", got)
	}
	token := s.keys[0].Token(protocol.Slot(s.now), 0)
	s.inject(lab.Echo(src, s.dest(src), s.site.port, 2, token[:])) // as the next ping of a Windows machine
	s.expect("open", src, 2222)
}

func TestATokenToManyIsNone(t *testing.T) {
	s := newSignedSite(t, "")
	src := lab.ForgedAddr6(1)
	token := s.keys[0].Token(protocol.Slot(s.now), 0)
	s.inject(lab.Echo(src, netip.MustParseAddr("ff02::1"), 1, 1, token[:]))
	s.expect("silent", src, 2222)
	s.use(src, s.keys[0], 0, 0) // it was not used up
	s.expect("open", src, 2222)
}

func TestARightTokenIsNoEventAndAWrongOneIsAnOrdinaryPing(t *testing.T) {
	s := newSignedSite(t, "")
	s.listen(3306)
	s.install(parse(t, "mysql", "sequence = [\"7/tcp\", \"8000/tcp\"]\nopen = [\"3306/tcp\"]\n"))
	eachFamily(t, func(t *testing.T, one, other netip.Addr) {
		s.t = t
		index := 0
		if one.Is6() {
			index = 1
		}
		s.send(one, tcp(7))
		s.use(one, s.keys[0], 0, index)
		s.send(one, tcp(8000))
		s.expect("open", one, 3306)
		s.expect("open", one, 2222)

		s.send(other, tcp(7))
		s.use(other, s.keys[0], 0, index) // used up
		s.send(other, tcp(8000))
		s.expect("silent", other, 3306)
	})
}

func TestATokenOutsideItsProfilesScopeIsNotUsedUp(t *testing.T) {
	s := newSignedSite(t, "from = [\"10.9.0.0/24\"]\n")
	inside, outside := lab.ForgedAddr4(1), lab.ForgedAddr4(1000)
	s.use(outside, s.keys[0], 0, 0)
	s.expect("silent", outside, 2222)
	s.use(inside, s.keys[0], 0, 0)
	s.expect("open", inside, 2222)
}

func TestAKeyThatIsRemovedOpensNothingAnyMore(t *testing.T) {
	s := newSignedSite(t, "")
	alice, bob := s.keys[0], newKey("admin", "bob", 9)
	s.keys = append(s.keys, bob)
	if state := s.fresh(bob); len(state.Added) != 1 || state.Added[0].User != "bob" {
		t.Errorf("added: %v", state.Added)
	}
	s.use(lab.ForgedAddr4(1), bob, 0, 0)
	s.expect("open", lab.ForgedAddr4(1), 2222)

	s.keys = slices.DeleteFunc(s.keys, func(k protocol.Key) bool { return k.User == "bob" })
	if state := s.refresh(); len(state.Ended) != 1 || state.Ended[0].User != "bob" {
		t.Errorf("ended: %v", state.Ended)
	}
	s.use(lab.ForgedAddr4(2), bob, 0, 1)
	s.expect("silent", lab.ForgedAddr4(2), 2222)
	s.use(lab.ForgedAddr4(2), alice, 0, 1)
	s.expect("open", lab.ForgedAddr4(2), 2222)

	// Its number is not another key's as long as a token of it may be there.
	s.keys = append(s.keys, newKey("admin", "carol", 10))
	s.fresh(s.keys[len(s.keys)-1])
	s.use(lab.ForgedAddr4(3), bob, 0, 2)
	s.expect("silent", lab.ForgedAddr4(3), 2222)
}

func TestAKeyThatTheKernelNeverHadOpensAtOnceAndOneThatComesBackDoesNot(t *testing.T) {
	s := newSignedSite(t, "")
	bob := newKey("admin", "bob", 9)
	with, without := append(slices.Clone(s.keys), bob), s.keys
	s.keys = with // as a file that somebody has copied
	s.refresh()
	s.use(lab.ForgedAddr4(1), bob, 0, 0)
	s.expect("open", lab.ForgedAddr4(1), 2222)

	s.keys = without
	s.refresh()
	s.keys = with
	s.refresh()
	for away := int64(-1); away <= 1; away++ {
		s.use(lab.ForgedAddr4(2), bob, away, 0)
	}
	s.expect("silent", lab.ForgedAddr4(2), 2222)
	s.now = s.now.Add(protocol.SlotTime)
	s.refresh()
	s.use(lab.ForgedAddr4(2), bob, 1, 0)
	s.expect("open", lab.ForgedAddr4(2), 2222)

	// With the clock back, it may have had the tokens of these slots.
	s.keys = without
	s.now = s.now.Add(5 * protocol.SlotTime)
	s.refresh()
	s.now = s.now.Add(5 * protocol.SlotTime)
	s.refresh() // forgotten
	s.now = s.now.Add(-10 * protocol.SlotTime)
	s.keys = with
	s.refresh()
	s.use(lab.ForgedAddr4(3), bob, 1, 0)
	s.expect("silent", lab.ForgedAddr4(3), 2222)
}

func TestARemovedKeyOpensNothingAlsoWhereTheRecordCannotBeWritten(t *testing.T) {
	s := newSignedSite(t, "")
	s.now = s.now.Add(protocol.SlotTime)
	full := errors.New("no space left on device")
	s.do(func() error {
		_, err := s.srv.RefreshKeys(t.Context(), server.KeyRefresh{Now: s.now, Keys: s.keys[1:], Highest: s.highest, Record: func(int64) error { return full }})
		if !errors.Is(err, full) {
			t.Errorf("error %v", err)
		}
		return nil
	})
	s.use(lab.ForgedAddr4(1), s.keys[0], -1, 0)
	s.expect("silent", lab.ForgedAddr4(1), 2222)
	s.use(lab.ForgedAddr4(1), s.keys[1], -1, 0)
	s.expect("open", lab.ForgedAddr4(1), 8443)
}

func TestKeysOutliveAChangeOfTheProfilesAndARemovedProfileTakesThemAlong(t *testing.T) {
	s := newSignedSite(t, "")
	s.install(parse(t, "mysql", "sequence = [\"7/tcp\", \"8000/tcp\"]\nopen = [\"3306/tcp\"]\n"))
	if state := s.refresh(); len(state.Added) > 0 || len(state.Ended) > 0 {
		t.Errorf("added %v, ended %v", state.Added, state.Ended)
	}
	s.use(lab.ForgedAddr4(1), s.keys[0], 0, 0)
	s.expect("open", lab.ForgedAddr4(1), 2222)

	s.do(func() error {
		_, err := s.srv.Remove(t.Context(), []string{"admin"})
		return err
	})
	s.install(parse(t, "admin", adminSigned))
	s.use(lab.ForgedAddr4(2), s.keys[0], 0, 1) // of the removed profile
	s.expect("silent", lab.ForgedAddr4(2), 2222)
	s.use(lab.ForgedAddr4(2), s.keys[1], 0, 1)
	s.expect("open", lab.ForgedAddr4(2), 8443)
}

func TestABannedSourceGetsNothingForItsToken(t *testing.T) {
	s := newSignedSite(t, "")
	src := lab.ForgedAddr4(1)
	settings := strict()
	settings.Policy.Ban = &protocol.Ban{After: 1, For: time.Minute}
	s.srv = server.New(s.srv.Backend(), settings)
	s.install(parse(t, "admin", adminSigned), parse(t, "mysql", "sequence = [\"7/tcp\", \"8000/tcp\"]\nopen = [\"3306/tcp\"]\n"))
	s.send(src, tcp(7), tcp(9))
	s.use(src, s.keys[0], 0, 0)
	s.expect("silent", src, 2222)
	s.use(lab.ForgedAddr4(2), s.keys[0], 0, 0) // it was not used up
	s.expect("open", lab.ForgedAddr4(2), 2222)
}

func TestKeysOfALostRecordOpenNoOtherProfile(t *testing.T) {
	s := newSignedSite(t, "")
	s.run("nft", "flush", "chain", "inet", "knockd", "about")
	s.do(func() error { // now web has the number that admin had
		_, err := s.srv.Install(t.Context(), []*protocol.Profile{parse(t, "web", "signed = { carrier = \"icmp\" }\nopen = [\"8443/tcp\"]\n")}, server.InstallOptions{Exactly: true})
		return err
	})
	s.use(lab.ForgedAddr4(1), s.keys[0], 0, 0)
	s.expect("silent", lab.ForgedAddr4(1), 8443)
}
