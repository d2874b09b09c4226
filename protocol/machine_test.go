package protocol

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var (
	ping = Knock{Proto: ICMP}
	echo = Knock{TCP, 7}
	back = Knock{TCP, 8000}
	sql  = Knock{TCP, 3306}
)

// profile returns a profile that waits `within` before each knock but the first.
func profile(name string, within time.Duration, sequence ...Knock) *Profile {
	p := &Profile{Name: name, Enabled: true, Lease: time.Hour, PrefixIPv4: 32, PrefixIPv6: 128,
		Open: []PortRange{{TCP, 3306, 3306}}}
	for i, k := range sequence {
		s := Step{Knock: k, Within: within}
		if i == 0 {
			s.Within = 0
		}
		p.Sequence = append(p.Sequence, s)
	}
	return p
}

func compile(t testing.TB, profiles ...*Profile) *Automaton {
	t.Helper()
	a, err := Compile(profiles, IPv4)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// run walks a fresh strict machine; each event is a second after the one before.
func run(a *Automaton, knocks ...Knock) []Transition {
	m := NewMachine(a, Policy{Strict: true})
	var all []Transition
	for i, k := range knocks {
		all = append(all, m.Step(Event{Time: time.Unix(int64(i), 0), Source: netip.MustParseAddr("10.9.0.1"), Knock: k}))
	}
	return all
}

func TestTheArticlesSequenceOpensAfterItsLastKnockAndNotBefore(t *testing.T) {
	got := run(compile(t, profile("mysql", 10*time.Second, ping, echo, back)), ping, echo, back)
	for i, want := range []Cause{Start, Advance, Advance} {
		if got[i].Why != want || len(got[i].Granted) != i/2 {
			t.Errorf("event %d: %v, granted %d", i, got[i].Why, len(got[i].Granted))
		}
	}
	if got[2].To != Root {
		t.Errorf("after the last knock the source stays in %d; nothing comes after it", got[2].To)
	}
}

func TestAnyOtherPacketStartsOverAndARepeatDoesNot(t *testing.T) {
	a := compile(t, profile("mysql", 10*time.Second, ping, echo, back))
	for _, c := range []struct {
		name   string
		events []Knock
		opens  bool
	}{
		{"a doubled knock", []Knock{ping, echo, echo, back}, true},
		{"another port in between", []Knock{ping, echo, sql, back}, false},
		{"the first knock again in between", []Knock{ping, echo, ping, back}, false},
		{"the first knock again, then the rest", []Knock{ping, echo, ping, echo, back}, true},
		{"a step left out", []Knock{ping, back}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := run(a, c.events...)
			if opens := len(got[len(got)-1].Granted) > 0; opens != c.opens {
				t.Errorf("opens: %v", opens)
			}
		})
	}
}

func TestAnEndingOfOneSequenceThatBeginsAnotherGoesOn(t *testing.T) {
	a := compile(t, profile("long", 0, ping, echo, back, sql), profile("short", 0, echo, back, ping))
	got := run(a, ping, echo, back, ping)
	if last := got[3]; last.Why != Suffix || len(last.Granted) != 1 || last.Granted[0].Name != "short" {
		t.Errorf("got %+v", last)
	}
}

func TestAKnockTooLateCountsAsFromNoPosition(t *testing.T) {
	m := NewMachine(compile(t, profile("mysql", 10*time.Second, ping, echo)), Policy{Strict: true})
	src := netip.MustParseAddr("10.9.0.1")
	for _, c := range []struct {
		after time.Duration
		opens bool
	}{{10 * time.Second, true}, {10*time.Second + 1, false}} {
		start := time.Unix(1000, 0)
		m.Step(Event{Time: start, Source: src, Knock: ping})
		got := m.Step(Event{Time: start.Add(c.after), Source: src, Knock: echo})
		if opens := len(got.Granted) > 0; opens != c.opens || (got.Expired != Root) == c.opens {
			t.Errorf("after %s: %+v", c.after, got)
		}
	}
}

func TestThreeFallsBanAndTheBanEnds(t *testing.T) {
	p := profile("mysql", 0, ping, echo)
	m := NewMachine(compile(t, p), Policy{Strict: true, Ban: &Ban{After: 3, For: time.Minute}})
	src, now := netip.MustParseAddr("10.9.0.1"), time.Unix(0, 0)
	step := func(k Knock) Transition { return m.Step(Event{Time: now, Source: src, Knock: k}) }
	for i := range 3 {
		step(ping)
		if got := step(back); got.Why != StartOver || got.Banned != (i == 2) {
			t.Fatalf("fall %d: %+v", i+1, got)
		}
	}
	step(ping)
	if got := step(echo); got.Why != Banned || m.HasLease(p, src, now) {
		t.Errorf("a banned source's knocks still count: %+v", got)
	}
	now = now.Add(time.Minute + 1)
	step(ping)
	if got := step(echo); len(got.Granted) != 1 {
		t.Errorf("the ban does not end: %+v", got)
	}
}

// oracle is the specification read naively, over the whole history of a source:
// its most recent events, ignoring immediate repeats, are exactly the profile's
// sequence, each within its time.
func oracle(p *Profile, history []Event) bool {
	at := len(history) - 1
	for step := len(p.Sequence) - 1; step >= 0; step-- {
		if at < 0 || history[at].Knock != p.Sequence[step].Knock {
			return false
		}
		if step == 0 {
			return true
		}
		// The last knock itself is taken once; before it, repeats are passed over
		// as long as each came in the time that the next knock has.
		limit := p.Sequence[step].Within
		for at--; ; at-- {
			if at < 0 || limit > 0 && history[at+1].Time.Sub(history[at].Time) > limit {
				return false
			}
			if at == 0 || history[at].Knock != history[at-1].Knock || limit > 0 && history[at].Time.Sub(history[at-1].Time) > limit {
				break
			}
		}
	}
	return true
}

// drawProfiles draws up to four profiles over a small alphabet that compile together.
func drawProfiles(t *rapid.T) (*Automaton, []Knock) {
	letters := []Knock{ping, echo, back, {UDP, 53}, {TCP, 22}}
	within := rapid.SampledFrom([]time.Duration{0, time.Second, 3 * time.Second}).Draw(t, "within")
	var profiles []*Profile
	for i := range rapid.IntRange(1, 4).Draw(t, "profiles") {
		var seq []Knock
		for range rapid.IntRange(1, 5).Draw(t, "length") {
			k := rapid.SampledFrom(letters[:4]).Draw(t, "knock")
			if len(seq) == 0 || seq[len(seq)-1] != k {
				seq = append(seq, k)
			}
		}
		profiles = append(profiles, profile(fmt.Sprintf("p%d", i), within, seq...))
	}
	a, err := Compile(profiles, IPv4)
	if err != nil {
		t.Fatalf("profiles with one time conflict: %v", err)
	}
	return a, letters
}

// TestTheMachineGrantsExactlyWhatTheWholeHistorySays holds the reference machine
// against the oracle on random streams. A repeated event may only renew what the
// history says is open; it need not, since a state is entered once.
func TestTheMachineGrantsExactlyWhatTheWholeHistorySays(t *testing.T) {
	streams, grants := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		a, letters := drawProfiles(t)
		for range 20 {
			streams++
			grants += compareStream(t, a, letters)
		}
	})
	if streams < 2000 || grants < 500 {
		t.Errorf("only %d streams with %d grants: too few to prove anything", streams, grants)
	}
}

func compareStream(t *rapid.T, a *Automaton, letters []Knock) (grants int) {
	m := NewMachine(a, Policy{Strict: true})
	now := time.Unix(0, 0)
	src := netip.MustParseAddr("10.9.0.1")
	var history []Event
	for i := range rapid.IntRange(1, 25).Draw(t, "events") {
		now = now.Add(time.Duration(rapid.SampledFrom([]int{0, 1, 500, 1000, 1001, 3000, 3500}).Draw(t, "ms")) * time.Millisecond)
		e := Event{Time: now, Source: src, Knock: rapid.SampledFrom(letters).Draw(t, "event")}
		history = append(history, e)
		got := m.Step(e)
		grants += len(got.Granted)
		repeat := i > 0 && history[i-1].Knock == e.Knock
		for _, p := range a.Profiles {
			open := oracle(p, history)
			granted := slices.Contains(got.Granted, p)
			if granted && !open || open && !granted && !repeat {
				t.Fatalf("event %d of %v: %s granted %v, the history says %v", i, history, p.Name, granted, open)
			}
			if open && !m.HasLease(p, src, now) {
				t.Fatalf("event %d: %s has no lease, the history says it was opened", i, p.Name)
			}
		}
	}
	return grants
}

func TestWhatAGateBeforeDestinationNATShutsOutIsNoEvent(t *testing.T) {
	early := profile("mysql", 10*time.Second, ping, echo, back)
	early.Place = PlacePrerouting
	got := run(compile(t, early), ping, sql, echo, sql, back, sql)
	// The stranger's connections to 3306 leave the position alone; that of the lease
	// holder comes to the host, where it is an event like any other.
	for i, want := range []Cause{Start, ShutOut, Advance, ShutOut, Advance, Nothing} {
		if got[i].Why != want {
			t.Errorf("event %d: %v, not %v", i, got[i].Why, want)
		}
	}
	if len(got[4].Granted) != 1 {
		t.Error("the sequence does not open the profile")
	}
}
