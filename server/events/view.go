package events

import (
	"slices"

	"knockkit/protocol"
	"knockkit/server/backend"
)

// view is the installed automaton of one family, found by profile and step.
type view struct {
	*protocol.Automaton
	states map[place]int
}

// place is how a report names a state: the rules do not know the numbers.
type place struct {
	profile string
	step    int
}

// views makes the view of each family. Profiles that do not compile were never
// installed: then there is nothing to see.
func views(in backend.Installed) map[protocol.Family]*view {
	all := map[protocol.Family]*view{}
	for _, f := range protocol.Families() {
		a, err := protocol.Compile(in.Profiles, f)
		if err != nil {
			a = &protocol.Automaton{Family: f, States: make([]protocol.State, 1)}
		}
		v := &view{a, map[place]int{}}
		for i := range a.States {
			for _, u := range a.States[i].Users {
				v.states[place{u.Profile.Name, u.Step}] = i
			}
		}
		all[f] = v
	}
	return all
}

// same returns the state of an older view that state i of this one is.
func (v *view) same(old *view, i int) int {
	if i == protocol.Root {
		return protocol.Root
	}
	u := old.States[i].Users[0]
	return v.states[place{u.Profile.Name, u.Step}] // Root when there is none
}

// follows reports whether a source in state i goes on, or stays, by entering next.
func (v *view) follows(i, next int) bool {
	return i == next || i == protocol.Root ||
		slices.ContainsFunc(v.States[i].Edges, func(e protocol.Edge) bool { return e.To == next })
}

// profile returns the profile of that name, or nil.
func (v *view) profile(name string) *protocol.Profile {
	for _, p := range v.Profiles {
		if p.Name == name {
			return p
		}
	}
	return nil
}
