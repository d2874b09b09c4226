package protocol

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// signedProfile returns a profile with a carrier and a lease of a minute.
func signedProfile(name string, carrier Knock) *Profile {
	p := profile(name, 0)
	p.Signed, p.Open, p.Lease = &Signed{carrier}, []PortRange{{TCP, 2222, 2222}}, time.Minute
	return p
}

// tokenOf returns the index-th token of a slot.
func tokenOf(user string, index int) Token {
	k := Key{Profile: "admin", User: user, Audience: "db1", Secret: [KeySize]byte([]byte(fmt.Sprintf("%-32s", user)))}
	return k.Token(7, index)
}

var (
	laptop   = netip.MustParseAddr("10.9.0.1")
	stranger = netip.MustParseAddr("10.9.0.2")
	epoch    = time.Unix(0, 0)
)

func TestTheFirstPacketWithATokenOpensAndIsNoEvent(t *testing.T) {
	admin, mysql := signedProfile("admin", ping), profile("mysql", 10*time.Second, echo, back, ping)
	closing := Knock{TCP, 99}
	admin.Close = &closing
	m := NewMachine(compile(t, admin, mysql), Policy{Strict: true})
	m.Load(admin, "alice", tokenOf("alice", 0), epoch.Add(time.Minute))
	m.Step(Event{Time: epoch, Source: laptop, Knock: echo})

	got := m.Step(Event{Time: epoch, Source: laptop, Knock: ping, Token: tokenOf("alice", 0)})
	if got.Why != ByToken || got.User != "alice" || len(got.Granted) != 1 || got.From != got.To || got.To == Root {
		t.Errorf("the first packet: %+v", got)
	}
	if !m.HasLease(admin, laptop, epoch) || m.HasLease(admin, stranger, epoch) {
		t.Error("the lease is not the laptop's alone")
	}
	if got := m.Step(Event{Time: epoch, Source: laptop, Knock: back}); got.Why != Advance {
		t.Errorf("the position is not where it was: %+v", got)
	}
	got = m.Step(Event{Time: epoch, Source: laptop, Knock: ping, Token: tokenOf("alice", 0)})
	if got.Why != Advance || got.Token != TokenUsed || len(got.Granted) != 1 || got.Granted[0] != mysql {
		t.Errorf("the same packet again is no ordinary ping: %+v", got)
	}
	m.Step(Event{Time: epoch, Source: laptop, Knock: closing})
	if m.HasLease(admin, laptop, epoch) {
		t.Error("the close knock does not close")
	}
}

func TestATokenOpensOnlyWhereItCounts(t *testing.T) {
	to, iface := netip.MustParseAddr("198.51.100.1"), "eth0"
	for _, c := range []struct {
		name   string
		change func(*Event)
		want   TokenFate
	}{
		{"in the profile's scope", func(*Event) {}, TokenOpens},
		{"in the last moment", func(e *Event) { e.Time = epoch.Add(time.Minute) }, TokenOpens},
		{"too late", func(e *Event) { e.Time = epoch.Add(time.Minute + 1) }, TokenExpired},
		{"of nobody's key", func(e *Event) { e.Token[0]++ }, TokenUnknown},
		{"no token", func(e *Event) { e.Token = Token{} }, NoToken},
		{"on another carrier", func(e *Event) { e.Knock = Knock{UDP, 40123} }, TokenMisplaced},
		{"in a SYN", func(e *Event) { e.Knock = echo }, TokenMisplaced},
		{"to another address", func(e *Event) { e.Dest = netip.MustParseAddr("198.51.100.2") }, TokenMisplaced},
		{"by another interface", func(e *Event) { e.Interface = "eth1" }, TokenMisplaced},
		{"of a source that is not in `from`", func(e *Event) { e.Source = netip.MustParseAddr("192.0.2.1") }, TokenMisplaced},
	} {
		t.Run(c.name, func(t *testing.T) {
			admin, web := signedProfile("admin", ping), signedProfile("web", Knock{UDP, 40123})
			admin.To, admin.Interface, admin.From = []netip.Prefix{netip.PrefixFrom(to, 32)}, iface, []netip.Prefix{netip.MustParsePrefix("10.9.0.0/24")}
			m := NewMachine(compile(t, admin, web), Policy{Strict: true})
			m.Load(admin, "alice", tokenOf("alice", 0), epoch.Add(time.Minute))
			right := Event{Time: epoch, Source: laptop, Dest: to, Interface: iface, Knock: ping, Token: tokenOf("alice", 0)}
			e := right
			c.change(&e)
			got := m.Step(e)
			if got.Token != c.want || (len(got.Granted) > 0) != (c.want == TokenOpens) {
				t.Errorf("got %+v", got)
			}
			right.Time = epoch.Add(time.Minute)
			if again := m.Step(right); (again.Token == TokenUsed) != (c.want == TokenOpens) {
				t.Errorf("afterwards where it counts: %v", again.Token)
			}
		})
	}
}

func TestABanAndAGateBeforeNATComeBeforeTheToken(t *testing.T) {
	admin := signedProfile("admin", Knock{UDP, 40123})
	gate := profile("gate", 0, echo, back)
	gate.Open, gate.Place = []PortRange{{UDP, 40123, 40123}}, PlacePrerouting
	m := NewMachine(compile(t, admin, gate), Policy{Strict: true, Ban: &Ban{After: 1, For: time.Minute}})
	m.Load(admin, "alice", tokenOf("alice", 0), epoch.Add(time.Hour))
	e := Event{Time: epoch, Source: laptop, Knock: Knock{UDP, 40123}, Token: tokenOf("alice", 0)}
	if got := m.Step(e); got.Why != ShutOut {
		t.Errorf("shut out: %+v", got)
	}
	for _, k := range []Knock{echo, sql} {
		m.Step(Event{Time: epoch, Source: laptop, Knock: k})
	}
	if got := m.Step(e); got.Why != Banned {
		t.Errorf("banned: %+v", got)
	}
	e.Time = epoch.Add(2 * time.Minute)
	for _, k := range []Knock{echo, back} { // which open the gate
		m.Step(Event{Time: e.Time, Source: laptop, Knock: k})
	}
	if got := m.Step(e); got.Why != ByToken {
		t.Errorf("the token was used up by a packet that never arrived: %+v", got)
	}
}

func TestALeaseEndsWithTheLastOfItsUsers(t *testing.T) {
	at := func(seconds int) time.Time { return epoch.Add(time.Duration(seconds) * time.Second) }
	open := func(p *Profile) *Machine { // alice at 0 s, bob at 40 s; a lease lasts a minute
		m := NewMachine(compile(t, p), Policy{Strict: true})
		for user, s := range map[string]int{"alice": 0, "bob": 40} {
			m.Load(p, user, tokenOf(user, s), at(1000))
		}
		m.Step(Event{Time: at(0), Source: laptop, Knock: ping, Token: tokenOf("alice", 0)})
		m.Step(Event{Time: at(40), Source: laptop, Knock: ping, Token: tokenOf("bob", 40)})
		return m
	}
	plain, renewed, once := signedProfile("admin", ping), signedProfile("admin", ping), signedProfile("admin", ping)
	renewed.Renew, once.Once = true, true
	for _, c := range []struct {
		name    string
		profile *Profile
		end     string
		users   []string // at 50 s, after the end of a user
		until   int      // the last second of the lease
	}{
		{"both knocked", plain, "", []string{"alice", "bob"}, 100},
		{"alice ends", plain, "alice", []string{"bob"}, 100},
		{"bob ends, alice has her time left", plain, "bob", []string{"alice"}, 60},
		{"nobody's name", plain, "carol", []string{"alice", "bob"}, 100},
		{"with renew the time is the lease's", renewed, "bob", []string{"alice"}, 100},
		{"with once the last has it alone", once, "alice", []string{"bob"}, 100},
		{"with once the last ends", once, "bob", nil, 49},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := open(c.profile)
			m.EndUser(c.profile, c.end, at(50))
			if diff := cmp.Diff(c.users, m.Users(c.profile, laptop, at(50))); diff != "" {
				t.Error(diff)
			}
			if c.until >= 50 && !m.HasLease(c.profile, laptop, at(c.until)) || m.HasLease(c.profile, laptop, at(c.until+1)) {
				t.Errorf("the lease does not last until %d s", c.until)
			}
		})
	}
	m := open(plain)
	m.EndUser(plain, "alice", at(70)) // what alice opened is over
	m.EndUser(plain, "bob", at(70))
	if m.HasLease(plain, laptop, at(70)) {
		t.Error("a user whose time is over keeps the lease")
	}
}

// act is a moment of a history: a packet, or the end of a user.
type act struct {
	event Event
	end   string // a user's name; "": a packet
}

// TestASignedProfileIsOpenExactlyWhereTheHistorySays holds the machine against the specification, read
// naively over the whole history: a source is in exactly while some user's part lasts, which a first
// use of a right token began, and nothing ended since. Positions are those of a machine that never
// sees packets with a right token.
func TestASignedProfileIsOpenExactlyWhereTheHistorySays(t *testing.T) {
	opened, shut, used := 0, 0, 0
	rapid.Check(t, func(t *rapid.T) {
		for range 8 {
			o, s, u := compareTokens(t)
			opened, shut, used = opened+o, shut+s, used+u
		}
	})
	if opened < 1000 || shut < 1000 || used < 100 {
		t.Errorf("only %d times open, %d shut, %d used tokens: too few to prove anything", opened, shut, used)
	}
}

// compareTokens compares them after each act of one history, and counts what it has seen.
func compareTokens(t *rapid.T) (opened, shut, used int) {
	closing := Knock{TCP, 99}
	admin, web := signedProfile("admin", ping), signedProfile("web", Knock{UDP, 53})
	admin.Interface, admin.Close, admin.PrefixIPv4 = "eth0", &closing, rapid.SampledFrom([]int{32, 31}).Draw(t, "bits")
	signed := []*Profile{admin, web}
	a, err := Compile([]*Profile{admin, web, profile("mysql", 3*time.Second, echo, ping, back)}, IPv4)
	if err != nil {
		t.Fatal(err)
	}
	policy := Policy{Strict: rapid.Bool().Draw(t, "strict")}
	m, plain := NewMachine(a, policy), NewMachine(a, policy)
	type right struct {
		profile *Profile
		user    string
		until   time.Time
	}
	loaded := map[Token]right{}
	for i := range 6 {
		r := right{signed[i%2], []string{"alice", "bob", "carol"}[i%3], epoch.Add(time.Duration(rapid.IntRange(20, 200).Draw(t, "until")) * time.Second)}
		token := tokenOf(r.user, i)
		loaded[token] = r
		m.Load(r.profile, r.user, token, r.until)
	}
	tokens := []Token{{}, {}, tokenOf("mallory", 0)}
	for token := range loaded {
		tokens = append(tokens, token)
	}
	slices.SortFunc(tokens, func(x, y Token) int { return slices.Compare(x[:], y[:]) })
	sources := []netip.Addr{netip.MustParseAddr("10.9.0.2"), netip.MustParseAddr("10.9.0.3"), netip.MustParseAddr("10.9.0.4")}

	var history []act
	opens := func(i int) bool { // whether packet i is the first that counts with its token
		counts := func(e Event) bool {
			r, is := loaded[e.Token]
			return is && e.Knock == r.profile.Signed.Carrier && !e.Time.After(r.until) &&
				(r.profile.Interface == "" || e.Interface == r.profile.Interface)
		}
		e := history[i]
		return e.end == "" && counts(e.event) &&
			!slices.ContainsFunc(history[:i], func(o act) bool { return o.end == "" && o.event.Token == e.event.Token && counts(o.event) })
	}
	same := func(p *Profile, x, y netip.Addr) bool {
		return netip.PrefixFrom(x, p.PrefixIPv4).Masked() == netip.PrefixFrom(y, p.PrefixIPv4).Masked()
	}
	open := func(p *Profile, src netip.Addr, now time.Time) bool {
		parts := map[string]bool{} // users whose part lasts
		for i, x := range history {
			r := loaded[x.event.Token]
			switch {
			case x.end != "":
				delete(parts, x.end)
			case opens(i) && r.profile == p && same(p, x.event.Source, src):
				parts[r.user] = now.Sub(x.event.Time) <= p.Lease
			case !opens(i) && p.Close != nil && x.event.Knock == *p.Close && same(p, x.event.Source, src) && x.event.Interface == p.Interface:
				clear(parts)
			}
		}
		for _, lasts := range parts {
			if lasts {
				return true
			}
		}
		return false
	}

	now := epoch
	for range rapid.IntRange(10, 60).Draw(t, "acts") {
		now = now.Add(time.Duration(rapid.SampledFrom([]int{0, 0, 0, 1, 2, 20, 60}).Draw(t, "seconds")) * time.Second)
		x := act{event: Event{Time: now, Source: rapid.SampledFrom(sources).Draw(t, "source"), Interface: rapid.SampledFrom([]string{"eth0", "eth0", "eth0", "eth1"}).Draw(t, "interface"),
			Knock: rapid.SampledFrom([]Knock{ping, ping, ping, ping, {UDP, 53}, {UDP, 53}, echo, back, closing}).Draw(t, "knock"), Token: rapid.SampledFrom(tokens).Draw(t, "token")}}
		if rapid.IntRange(0, 9).Draw(t, "end") == 0 {
			x = act{end: rapid.SampledFrom([]string{"alice", "bob", "carol"}).Draw(t, "user")}
			for _, p := range signed {
				m.EndUser(p, x.end, now)
			}
		}
		history = append(history, x)
		if x.end == "" {
			got, first := m.Step(x.event), opens(len(history)-1)
			if (got.Why == ByToken) != first {
				t.Fatalf("%+v: %+v, and that it opens is %v", x.event, got, first)
			}
			if got.Token == TokenUsed {
				used++
			}
			if !first {
				e := x.event
				e.Token = Token{}
				plain.Step(e)
			}
		}
		for _, src := range sources {
			at, since := m.Position(src, now)
			if want, from := plain.Position(src, now); at != want || !since.Equal(from) {
				t.Fatalf("%s is in %d since %v, not in %d since %v", src, at, since, want, from)
			}
			for _, p := range signed {
				want := open(p, src, now)
				if m.HasLease(p, src, now) != want || (len(m.Users(p, src, now)) > 0) != want {
					t.Fatalf("%s of %s: open %v, users %v, and the history says %v:\n%+v", p.Name, src, !want, m.Users(p, src, now), want, history)
				}
				if want {
					opened++
				} else {
					shut++
				}
			}
		}
	}
	return opened, shut, used
}
