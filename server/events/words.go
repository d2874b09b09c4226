package events

import (
	"fmt"
	"slices"
	"strings"

	"knockkit/internal/kernel/backend"
	"knockkit/internal/say"
	"knockkit/protocol"
)

// A line of `knockd watch` has an address and a profile's name before the words, and is read on 80
// columns: so the words are few, and the step that they are about comes without the number of steps.

// collector collects the notices of one report.
type collector struct {
	now     Moment
	address string
	events  []Notice
	why     reasons // the falls among them
}

func (t *collector) add(k Kind, profile string, step, steps int, detail string) {
	t.events = append(t.events, Notice{Time: t.now.Wall, Kind: k, Profile: profile, Address: t.address, Step: step, Steps: steps, Detail: detail})
}

// fall adds a notice for each profile whose sequence the source has left: what came, and what was
// expected. Profiles whose sequence goes on in state next are left out.
func (t *collector) fall(v *view, from int, came string, next int) {
	for _, u := range v.States[from].Users {
		n := len(u.Profile.Sequence)
		goesOn := slices.ContainsFunc(v.States[next].Users, func(o protocol.Use) bool { return o.Profile == u.Profile && o.Step > u.Step })
		if u.Step == n || goesOn {
			continue
		}
		why := fmt.Sprintf("knock %d was %s", u.Step+1, came)
		t.why.add(u.Profile.Name, why)
		t.add(Reset, u.Profile.Name, u.Step, n, fmt.Sprintf("starts over: %s, not %s", why, u.Profile.Sequence[u.Step].Knock))
	}
}

// expire adds a notice for each profile on whose sequence the source was too slow.
func (t *collector) expire(v *view, from int) {
	s := &v.States[from]
	for _, u := range s.Users {
		n := len(u.Profile.Sequence)
		if u.Step == n {
			continue
		}
		why := fmt.Sprintf("no knock %d within %s", u.Step+1, protocol.FormatDuration(s.Within))
		t.why.add(u.Profile.Name, why)
		t.add(Expire, u.Profile.Name, u.Step, n, "starts over: "+why)
	}
}

func knocked(step, steps int, again bool) string {
	text := fmt.Sprintf("knock %d", step)
	if steps > 0 {
		text += fmt.Sprintf(" of %d", steps)
	}
	if again {
		text += ", the same again"
	}
	return text
}

func granted(p *protocol.Profile) string {
	text := "open until it is revoked"
	if p.Lease > 0 {
		text = "open for " + say.Duration(p.Lease)
	}
	if p.Once {
		text += ", for one connection"
	}
	return text
}

func banned(b *protocol.Ban) string {
	if b == nil {
		return "banned"
	}
	return fmt.Sprintf("started over for the %d. time: banned for %s", b.After, say.Duration(b.For))
}

// denied says why a connection was shut out.
func denied(came, why string) string { return fmt.Sprintf("no lease for %s: %s", came, why) }

// unseen is the reason of which nothing is known: a listener that began later has seen no knock.
func unseen(p *protocol.Profile) string {
	if p != nil && p.Signed != nil {
		return "no signed knock was seen"
	}
	return "no knock was seen"
}

// waiting says which knock a source in state i has not made for a profile, "" where it is on no way to it.
func (v *view) waiting(i int, profile string) string {
	for _, u := range v.States[i].Users {
		if u.Profile.Name == profile && u.Step < len(u.Profile.Sequence) {
			return fmt.Sprintf("no knock %d yet", u.Step+1)
		}
	}
	return ""
}

// end is how a lease ended: for its notice, and as the reason why its holder is denied.
type end struct{ detail, why string }

func inTime() end { return end{"the lease is over", "its time is over"} }

func givenBack() end { return end{"the lease ended early: given back", "given back"} }

// early says what may have ended a lease of the profile, where that is one of few things.
func early(p *protocol.Profile) end {
	var how []string
	if p != nil && p.Close != nil {
		how = append(how, "given back")
	}
	if p != nil && p.Once {
		how = append(how, "used up")
	}
	if why := strings.Join(how, " or "); why != "" {
		return end{"the lease ended early: " + why, why}
	}
	return end{"the lease ended early", "its lease ended early"}
}

func changed() end {
	return end{"the lease is over: the profile was changed", "the profile was changed"}
}

func steps(p *protocol.Profile) int {
	if p == nil {
		return 0
	}
	return len(p.Sequence)
}

// view is the installed automaton of one family, found by profile and step.
type view struct {
	*protocol.Automaton
	states map[stateKey]int
}

// stateKey is how a report names a state: rules do not know its number.
type stateKey struct {
	profile string
	step    int
}

// views makes the view of each family. Profiles that do not compile were never installed, and have
// an empty view.
func views(in backend.Installed) map[protocol.Family]*view {
	all := map[protocol.Family]*view{}
	for _, f := range protocol.Families() {
		a, err := protocol.Compile(in.Profiles, f)
		if err != nil {
			a = &protocol.Automaton{Family: f, States: make([]protocol.State, 1)}
		}
		v := &view{a, map[stateKey]int{}}
		for i := range a.States {
			for _, u := range a.States[i].Users {
				v.states[stateKey{u.Profile.Name, u.Step}] = i
			}
		}
		all[f] = v
	}
	return all
}

// same returns the state of this view that has the name of state i in an older one.
func (v *view) same(old *view, i int) int {
	if i == protocol.Root {
		return protocol.Root
	}
	u := old.States[i].Users[0]
	return v.states[stateKey{u.Profile.Name, u.Step}] // Root when there is none
}

// follows reports whether a source in state i goes on, or makes the same knock again, by entering
// next.
func (v *view) follows(i, next int) bool {
	return i == next || i == protocol.Root ||
		slices.ContainsFunc(v.States[i].Edges, func(e protocol.Edge) bool { return e.To == next })
}

// profile returns the profile of that name, or nil.
func (v *view) profile(name string) *protocol.Profile { return protocol.Find(v.Profiles, name) }
