package ledger

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"knockkit/internal/follow"
	"knockkit/internal/kernel/backend"
	"knockkit/protocol"
)

// merged is a ledger that the store has told these statements.
func merged(statements ...Statement) *Ledger {
	l := New("here", 1)
	for _, s := range statements {
		l.Merge(start, s, 0, false)
	}
	return l
}

func at(s Statement, later time.Duration) Statement {
	s.Stamp = start.Add(later).UnixNano()
	return s
}

func key(profile, holder string) follow.Key {
	return follow.Key{Profile: profile, Holder: netip.MustParsePrefix(holder)}
}

// give and end are what a kernel without leases, or with one of an hour, has to do.
func (l *Ledger) actions(now time.Time, k Kernel, p ...*protocol.Profile) Actions {
	return l.Converge(now, p, k, nil, true)
}

func mysql() *protocol.Profile {
	return &protocol.Profile{Name: "mysql", Lease: time.Hour, Open: ports("mysql"), PrefixIPv4: 32, PrefixIPv6: 128}
}

const host = "198.51.100.7/32"

func anHour() Kernel {
	return Kernel{key("mysql", host): {{End: start.Add(time.Hour)}}}
}

func TestALeaseIsInEffectUnlessALaterStatementEndsIt(t *testing.T) {
	const second = time.Second
	given := lease("mysql", host, time.Hour)
	signed := given
	signed.User, signed.Key = "alice", "0123abcd"
	for _, c := range []struct {
		name       string
		statements []Statement
		in         bool
	}{
		{"alone", []Statement{given}, true},
		{"ended later", []Statement{given, at(ending("mysql", host, ""), second)}, false},
		{"ended later, told first", []Statement{at(ending("mysql", host, ""), second), given}, false},
		{"ended in the same moment", []Statement{given, ending("mysql", host, "")}, false},
		{"ended before", []Statement{at(given, second), ending("mysql", host, "")}, true},
		{"everybody's ended", []Statement{given, at(ending("mysql", "", ""), second)}, false},
		{"a prefix's ended", []Statement{given, at(ending("mysql", "198.51.100.0/24", ""), second)}, false},
		{"another prefix's ended", []Statement{given, at(ending("mysql", "198.51.101.0/24", ""), second)}, true},
		{"a part of the holder's ended", []Statement{lease("mysql", "198.51.100.0/24", time.Hour), at(ending("mysql", "198.51.100.0/32", ""), second)}, true},
		{"another profile's ended", []Statement{given, at(ending("web", host, ""), second)}, true},
		{"a user's ended", []Statement{signed, at(ending("mysql", "", "alice"), second)}, false},
		{"another user's ended", []Statement{signed, at(ending("mysql", "", "bob"), second)}, true},
		{"a user's ended, given by a knock", []Statement{given, at(ending("mysql", "", "alice"), second)}, true},
		{"a user's ended, and another user's goes on", []Statement{signed, given, at(ending("mysql", "", "alice"), second)}, true},
		{"over", []Statement{lease("mysql", host, -second)}, false},
		{"ended, given again", []Statement{given, at(ending("mysql", host, ""), second), at(lease("mysql", host, time.Hour), 2*second)}, true},
	} {
		order := slices.Clone(c.statements)
		for range 2 {
			a := merged(order...).actions(start, Kernel{}, mysql())
			if in := len(a.Give) == 1; in != c.in || len(a.End)+len(a.News) > 0 {
				t.Errorf("%s: %+v", c.name, a)
			}
			slices.Reverse(order)
		}
	}
}

func TestALeaseIsGivenForTheTimeThatIsLeft(t *testing.T) {
	longer := at(lease("mysql", host, 2*time.Hour), -time.Minute)
	longer.User, longer.Key = "alice", "0123abcd"
	a := merged(lease("mysql", host, time.Hour), longer).actions(start.Add(10*time.Minute), Kernel{}, mysql())
	if len(a.Give) != 1 || a.Give[0].Left != 110*time.Minute || len(a.Give[0].Users) != 1 || a.Give[0].Users[0].Left != 110*time.Minute {
		t.Errorf("the longer of two: %+v", a)
	}
	if a := merged(lease("mysql", host, time.Hour)).actions(start.Add(time.Hour-time.Second/2), Kernel{}, mysql()); len(a.Give) > 0 {
		t.Errorf("half a second: %+v", a)
	}
	if a := merged(lease("mysql", host, time.Hour+Slack)).actions(start, anHour(), mysql()); len(a.Give)+len(a.News) > 0 {
		t.Errorf("it has it already: %+v", a)
	}
	if a := merged(lease("mysql", host, 20*time.Minute)).actions(start, anHour(), mysql()); len(a.Give) != 1 || a.Give[0].Left != 20*time.Minute {
		t.Errorf("made shorter: %+v", a)
	}
}

func TestALeaseOpensWhatItWasGivenForAndNothingElse(t *testing.T) {
	more, less := mysql(), mysql()
	more.Open = append(ports("web"), more.Open...)
	wide := lease("mysql", host, time.Hour)
	wide.Open = more.Open
	if a := merged(lease("mysql", host, time.Hour)).actions(start, Kernel{}, more); len(a.Give) > 0 {
		t.Errorf("a profile that opens more: %+v", a)
	}
	if a := merged(wide).actions(start, Kernel{}, less); len(a.Give) != 1 {
		t.Errorf("a profile that opens less: %+v", a)
	}
	if a := merged(lease("mysql", host, time.Hour)).actions(start, anHour(), more); len(a.News) != 1 || len(a.End) > 0 {
		t.Errorf("one that this node has given for more: %+v", a)
	}
}

func TestANodeKeepsWhatItHasNoProfileFor(t *testing.T) {
	l := merged(lease("mysql", host, time.Hour))
	if a := l.actions(start, Kernel{}); len(a.Give) > 0 {
		t.Errorf("without the profile: %+v", a)
	}
	v6 := mysql()
	v6.Family = protocol.IPv6
	if a := l.actions(start, Kernel{}, v6); len(a.Give) > 0 {
		t.Errorf("without a gate for the family: %+v", a)
	}
	if a := l.actions(start, Kernel{}, mysql()); len(a.Give) != 1 {
		t.Errorf("with the profile: %+v", a)
	}
}

func TestALeaseCoversThePrefixThatTheProfileHasHere(t *testing.T) {
	p := mysql()
	p.PrefixIPv4 = 24
	l := merged(lease("mysql", host, time.Hour), lease("mysql", "198.51.100.9/32", 2*time.Hour))
	a := l.actions(start, Kernel{}, p)
	if len(a.Give) != 1 || a.Give[0].Address.String() != "198.51.100.0/24" || a.Give[0].Left != 2*time.Hour {
		t.Fatalf("%+v", a)
	}
	later := at(ending("mysql", "198.51.100.9/32", ""), time.Second)
	l.Merge(start, later, 0, true)
	touched := l.Touched(&later)
	a = l.Converge(start, []*protocol.Profile{p}, Kernel{key("mysql", "198.51.100.0/24"): {{End: start.Add(2 * time.Hour)}}}, touched, true)
	if len(a.Give) != 1 || a.Give[0].Left != time.Hour {
		t.Errorf("one of both ended: touched %v, %+v", touched, a)
	}
}

func TestWhatOnlyTheKernelHasIsNewsUnlessItWasEnded(t *testing.T) {
	now := start.Add(10 * time.Minute) // the kernel's lease is ten minutes old
	handLease := lease("mysql", host, time.Hour)
	handLease.ByHand = true
	byHand := Kernel{key("mysql", host): {{End: start.Add(3 * time.Hour), ByHand: true}}}
	for _, c := range []struct {
		name            string
		kernel          Kernel
		statements      []Statement
		give, end, news int
	}{
		{"nothing was said", anHour(), nil, 0, 0, 1},
		{"ended before it began", anHour(), []Statement{at(ending("mysql", "", ""), -time.Minute)}, 0, 0, 1},
		{"ended since it began", anHour(), []Statement{at(ending("mysql", "", ""), time.Minute)}, 0, 1, 0},
		{"given before, for less", anHour(), []Statement{at(lease("mysql", host, 30*time.Minute), -30*time.Minute)}, 0, 0, 1},
		{"given since, for less", anHour(), []Statement{at(lease("mysql", host, 30*time.Minute), time.Minute)}, 1, 0, 0},
		{"by hand, nothing was said", byHand, nil, 0, 0, 1},
		{"by hand, something was ended at some time", byHand, []Statement{at(ending("mysql", "", ""), -24*time.Hour)}, 0, 1, 0},
		{"by hand, given elsewhere for less", byHand, []Statement{lease("mysql", host, 30*time.Minute)}, 1, 0, 0},
		{"as long as one by hand that was ended before", anHour(), []Statement{at(handLease, -5*time.Minute), at(ending("mysql", "", ""), -time.Minute)}, 0, 0, 1},
		{"over in a moment, nothing was said", Kernel{key("mysql", host): {{End: now.Add(time.Second)}}}, nil, 0, 0, 0},
		{"over in a moment", Kernel{key("mysql", host): {{End: now.Add(time.Second)}}}, []Statement{at(ending("mysql", "", ""), -time.Minute)}, 0, 0, 0},
	} {
		l := merged(c.statements...)
		a := l.actions(now, c.kernel, mysql())
		if len(a.Give) != c.give || len(a.End) != c.end || len(a.News) != c.news {
			t.Errorf("%s: %+v", c.name, a)
		}
		if a := l.Converge(now, []*protocol.Profile{mysql()}, c.kernel, nil, false); len(a.News) > 0 || len(a.Give) != c.give || len(a.End) != c.end {
			t.Errorf("%s, before the store has told all: %+v", c.name, a)
		}
	}
}

// TestALeaseThatRenewsIsToldInSteps: connections make it longer all the time.
func TestALeaseThatRenewsIsToldInSteps(t *testing.T) {
	p := mysql()
	p.Renew = true
	l := merged(lease("mysql", host, time.Hour))
	kernel := func(lasts time.Duration) Kernel {
		return Kernel{key("mysql", host): {{End: start.Add(lasts)}}}
	}
	if a := l.actions(start.Add(7*time.Minute), kernel(67*time.Minute), p); len(a.News)+len(a.Give)+len(a.End) > 0 {
		t.Errorf("after seven minutes: %+v", a)
	}
	a := l.actions(start.Add(8*time.Minute), kernel(68*time.Minute), p)
	if len(a.News) != 1 || a.News[0].Stamp != start.UnixNano() || !l.Adopt(a.News[0]) {
		t.Fatalf("after eight: %+v", a)
	}
	if more := l.Unstored(start); len(more) != 1 || !more[0].End.Equal(start.Add(68*time.Minute)) || more[0].Node != "db1" {
		t.Errorf("the others are told %+v", more)
	}
	l.Merge(start, at(ending("mysql", "", ""), time.Minute), 0, true) // before it was made longer, and it is no new lease
	for _, lasts := range []time.Duration{68 * time.Minute, 70 * time.Minute, 90 * time.Minute} {
		if a := l.actions(start.Add(lasts-time.Hour), kernel(lasts), p); len(a.End) != 1 {
			t.Errorf("ended, with %v: %+v", lasts, a)
		}
	}
}

func TestAStatementIsStoredUntilTheStoreHasItAndAgainWhenItHasItNoMore(t *testing.T) {
	l := New("here", 1)
	said := l.Say(start, Statement{Kind: Lease, Profile: "mysql", Holder: netip.MustParsePrefix(host), Open: ports("mysql"), End: start.Add(time.Hour)})
	told := merged(lease("web", host, time.Hour))
	for _, ledger := range []*Ledger{l, told} {
		ledger.Merge(start, said, 0, true)
		if more := ledger.Unstored(start); len(more) > 0 {
			t.Errorf("%v, which the store has", more)
		}
	}
	for name, lose := range map[string]func(){"deleted": func() {
		if !told.Deleted(start, said.ID(), 0) || told.Deleted(start.Add(time.Hour), said.ID(), 0) || told.Deleted(start, ID{}, 0) {
			t.Error("it is worth storing until it is over")
		}
	}, "replaced": func() {
		old := said
		old.Stamp--
		told.Merge(start, old, 0, true)
	}, "lost with all the store had": func() { told.Reconnected() }} {
		lose()
		more := told.Unstored(start)
		if !slices.ContainsFunc(more, func(s Statement) bool { return s.ID() == said.ID() && s.Stamp == said.Stamp }) {
			t.Errorf("%s: %v", name, more)
		}
		if told.Unstored(start.Add(time.Hour)) != nil {
			t.Errorf("%s: it is over", name)
		}
		told.Merge(start, said, 0, true)
	}
	told.Merge(start, at(ending("mysql", "", ""), time.Minute), 0, true)
	if told.Deleted(start, said.ID(), 0); slices.ContainsFunc(told.Unstored(start), func(s Statement) bool { return s.ID() == said.ID() }) {
		t.Error("what was ended need not be stored")
	}
}

func TestALeaseWithoutEndThatWasEndedGoesFromTheStore(t *testing.T) {
	endless := lease("mysql", host, 0)
	endless.End = time.Time{}
	l := merged(endless, lease("web", host, time.Hour))
	if ids := l.Endless(); len(ids) > 0 {
		t.Errorf("%v, which nothing has ended", ids)
	}
	l.Merge(start, at(ending("mysql", "", ""), time.Minute), 0, true)
	if ids := l.Endless(); len(ids) != 1 || ids[0] != endless.ID() {
		t.Errorf("%v", ids)
	}
	if l.Deleted(start, endless.ID(), 0); len(l.Endless())+len(l.Unstored(start)) > 0 {
		t.Errorf("it is gone: %v %v", l.Endless(), l.Unstored(start))
	}
}

func TestAStampIsLaterThanAllThatWasSeenAndNotAheadOfTheClock(t *testing.T) {
	l := merged(at(lease("mysql", host, time.Hour), 30*time.Second)) // by a clock that is ahead
	if s := l.Say(start, Statement{Kind: Ending, Profile: "mysql"}); s.Stamp <= start.Add(30*time.Second).UnixNano() || s.Node != "here" {
		t.Errorf("%+v", s)
	}
	if l := merged(at(lease("mysql", host, time.Hour), MaxAhead+time.Second)); len(l.leases) > 0 {
		t.Error("a statement of the next minute counts")
	}
}

func TestWhatAnyEndingMayHaveBeenForgottenOfIsNothing(t *testing.T) {
	old := at(lease("mysql", host, 0), -Memory-time.Second)
	old.End = time.Time{}
	l := New("here", 1)
	if news, _ := l.Merge(start, old, 0, false); !news {
		t.Error("the store had it: nobody has ended it")
	}
	if news, _ := New("here", 1).Merge(start, old, 0, true); news {
		t.Error("somebody tells of it now")
	}
	mine := New("here", 1)
	mine.Adopt(old)
	if more := mine.Unstored(start); len(more) > 0 {
		t.Errorf("%v is told", more)
	}
}

func TestWhatIsOverIsForgotten(t *testing.T) {
	endless := lease("mysql", "198.51.100.8/32", 0)
	endless.End = time.Time{}
	l := merged(lease("mysql", host, time.Hour), ending("mysql", host, ""), ending("web", "", ""), endless)
	l.Forget(start.Add(time.Hour + MaxAhead - 1))
	if len(l.leases) != 2 {
		t.Error("too soon: a kernel may still have it")
	}
	l.Forget(start.Add(time.Hour + MaxAhead))
	if len(l.leases) != 1 || len(l.stored[0]) != 3 {
		t.Errorf("%v %v", l.leases, l.stored)
	}
	l.Forget(start.Add(Memory + MaxAhead))
	if len(l.endings)+len(l.lengths) > 0 || len(l.leases) != 1 {
		t.Errorf("%v %v %v", l.endings, l.lengths, l.leases)
	}
}

func TestTheTokensOfAUsersLeaseAreToldUntilTheirSlotsAreOver(t *testing.T) {
	l := New("here", 1)
	say := func(now time.Time, token byte) []Spent {
		return l.Say(now, Statement{Kind: Lease, Profile: "signed", Holder: netip.MustParsePrefix(host), User: "alice", Key: "0123abcd", Open: ports("signed"),
			End: now.Add(time.Hour), Spent: []Spent{{protocol.Token{token}, now.Add(time.Minute)}}}).Spent
	}
	say(start, 1)
	if spent := say(start.Add(30*time.Second), 2); len(spent) != 2 {
		t.Errorf("%v", spent)
	}
	if spent := say(start.Add(70*time.Second), 3); len(spent) != 2 || spent[0].Token[0] != 2 {
		t.Errorf("%v", spent)
	}
}

func TestALeaseSaysWhoSaidItLast(t *testing.T) {
	other := at(lease("mysql", host, 2*time.Hour), time.Second)
	other.ByHand, other.Node = true, "db3"
	l := merged(lease("mysql", host, time.Hour), other)
	if from := l.Origin(start, mysql(), key("mysql", host)); from != "db3" {
		t.Errorf("%q", from)
	}
	l.Merge(start, at(ending("mysql", host, ""), time.Minute), 0, true)
	if from := l.Origin(start, mysql(), key("mysql", host)); from != "" {
		t.Errorf("ended: %q", from)
	}
}

func TestAKernelIsReadWithItsUsersAndWithWhatIsByHand(t *testing.T) {
	k := KernelOf(start, []backend.Source{
		{Profile: "mysql", Address: netip.MustParsePrefix(host), State: backend.Open, Left: time.Hour, Users: []backend.User{{Name: "alice", Key: "1", Left: time.Hour}, {Name: "bob", Key: "2", Left: time.Minute}}},
		{Profile: "mysql", Address: netip.MustParsePrefix(host), State: backend.Open, Unlimited: true, ByHand: true},
		{Address: netip.MustParsePrefix(host), State: backend.Banned, Left: time.Hour},
	})
	want := []Grant{{start.Add(time.Hour), "alice", "1", false}, {start.Add(time.Minute), "bob", "2", false}, {ByHand: true}}
	if got := k[key("mysql", host)]; !slices.Equal(got, want) || len(k) != 1 {
		t.Errorf("%+v", k)
	}
}
