package protocol

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// sameAutomaton compares all that an automaton says.
func sameAutomaton(x, y *Automaton) string {
	return cmp.Diff(x, y, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }))
}

func TestTheOrderOfTheProfilesDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, _ := drawProfiles(t)
		shuffled := append([]*Profile{}, a.Profiles...)
		rnd := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "shuffle"), 0))
		rnd.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		b, err := Compile(shuffled, IPv4)
		if err != nil {
			t.Fatal(err)
		}
		if diff := sameAutomaton(a, b); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestCompileLeavesItsProfilesAsTheyAre(t *testing.T) {
	p := profile("mysql", 10*time.Second, ping, echo, back)
	before := *p
	before.Sequence, before.Open = slices.Clone(p.Sequence), slices.Clone(p.Open)
	profiles := []*Profile{p, profile("a", 10*time.Second, echo)}
	compile(t, profiles...)
	if !reflect.DeepEqual(*p, before) || profiles[0] != p {
		t.Error("the profile or the list was changed")
	}
}

// TestProfilesThatCannotShareAPositionAreRefusedWithBothNames: one timer a source
// is exact only when all agree.
func TestProfilesThatCannotShareAPositionAreRefusedWithBothNames(t *testing.T) {
	with := func(p *Profile, change func(*Profile)) *Profile { change(p); return p }
	long := func() *Profile { return profile("long", 10*time.Second, ping, echo, back) }
	for _, c := range []struct {
		name  string
		other *Profile
		want  *ConflictError // nil: they can
	}{
		{"the same times", profile("other", 10*time.Second, ping, echo, sql), nil},
		{"another time where nothing is shared", profile("other", 5*time.Second, sql, echo), nil},
		{"another time after a shared first knock", profile("other", 5*time.Second, ping, echo, sql),
			&ConflictError{"long", "other", "they share the first knock, after which one waits 10s and the other 5s"}},
		{"no limit after a shared first knock", profile("other", 0, ping, sql),
			&ConflictError{"long", "other", "they share the first knock, after which one waits 10s and the other without limit"}},
		// After ping, echo a source has made echo too, which is the first knock of other.
		{"another time at a suffix", profile("other", 5*time.Second, echo, sql),
			&ConflictError{"long", "other", "after knock 2 of the one a source is after knock 1 of the other too (7/tcp), but then one waits 10s and the other 5s"}},
		// Nothing comes after `other`, so nobody waits there.
		{"a suffix where the other ends", profile("other", 5*time.Second, echo), nil},
		{"another interface at a shared first knock", with(profile("other", 10*time.Second, ping, sql), func(p *Profile) { p.Interface = "eth1" }),
			&ConflictError{"long", "other", "they share the first knock but not `interface` and `to`"}},
		{"another destination at a suffix", with(profile("other", 10*time.Second, echo, sql), func(p *Profile) { p.To = []netip.Prefix{netip.MustParsePrefix("198.51.100.1/32")} }),
			&ConflictError{"long", "other", "after knock 2 of the one a source is after knock 1 of the other too (7/tcp), but not on the same `interface` and `to`"}},
		{"another answer to a shared first knock", with(profile("other", 10*time.Second, ping, sql), func(p *Profile) { p.Reply = ReplyDrop }),
			&ConflictError{"long", "other", `they share the first knock but answer it differently: reply = "continue" and "drop"`}},
		// They are different packets: the state at the suffix answers its own.
		{"another answer at a suffix", with(profile("other", 10*time.Second, echo, sql), func(p *Profile) { p.Reply = ReplyDrop }), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, order := range [][]*Profile{{long(), c.other}, {c.other, long()}} {
				a, err := Compile(order, IPv4)
				var got *ConflictError
				if err != nil && (!errors.As(err, &got) || a != nil) {
					t.Fatalf("%v is no ConflictError, or an automaton came with it", err)
				}
				if diff := cmp.Diff(c.want, got); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

func TestEveryPairThatConflictsIsNamedOnce(t *testing.T) {
	_, err := Compile([]*Profile{profile("a", 10*time.Second, ping, echo, back, sql), profile("b", 5*time.Second, ping, echo, back),
		profile("c", 3*time.Second, ping, echo, back)}, IPv4)
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatalf("got %v", err)
	}
	// b and c each differ from a, which came first, after the first knock and after
	// the second: one reason a pair is enough.
	var pairs []string
	for _, e := range joined.Unwrap() {
		if c := new(ConflictError); errors.As(e, &c) {
			pairs = append(pairs, c.A+" "+c.B)
		}
	}
	if diff := cmp.Diff([]string{"a b", "a c"}, pairs); diff != "" {
		t.Error(diff)
	}
}

func TestAProfileIsCompiledOnlyWhereItHasAGate(t *testing.T) {
	four := profile("four", 0, ping, echo)
	four.Family = IPv4
	inside := profile("inside", 0, echo, back) // a gate on both families, which only IPv4 can open
	inside.From = []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16")}
	six, err := Compile([]*Profile{four, inside}, IPv6)
	if err != nil {
		t.Fatal(err)
	}
	if len(six.Profiles) != 1 || six.Profiles[0] != inside || len(six.States) != 1 {
		t.Errorf("%d profiles, %d states; want inside alone, and no state but the root", len(six.Profiles), len(six.States))
	}
}

func TestALeaseOfAPrefixLetsNobodyInFromOutsideOfFrom(t *testing.T) {
	p := profile("web", 0, echo)
	p.PrefixIPv4, p.From = 24, []netip.Prefix{netip.MustParsePrefix("10.9.0.0/25")}
	m := NewMachine(compile(t, p), Policy{Strict: true})
	now := time.Unix(0, 0)
	m.Step(Event{Time: now, Source: netip.MustParseAddr("10.9.0.1"), Knock: echo})
	for addr, lets := range map[string]bool{"10.9.0.1": true, "10.9.0.100": true, "10.9.0.200": false, "10.9.1.1": false} {
		g := m.Connect(Event{Time: now, Source: netip.MustParseAddr(addr), Knock: sql})
		if (g.Profile != nil) != lets || !g.Gated {
			t.Errorf("%s: %+v", addr, g)
		}
	}
}
