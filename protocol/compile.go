package protocol

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Compile turns the profiles into the automaton of one family. It is pure and deterministic: the
// order of the profiles does not matter. Profiles without a gate in the family are left out; signed
// ones have a gate and no states.
//
// It fails with a [*ConflictError] for each two profiles that would share a position but differ in
// its time, scope or reply (joined when there are several): one timer a source is exact only if all
// agree.
func Compile(profiles []*Profile, family Family) (*Automaton, error) {
	b := builder{family: family, index: map[string]int{"": Root}}
	b.states = []State{{}}
	for _, p := range sortedByName(profiles) {
		if !p.In(family) {
			continue
		}
		b.profiles = append(b.profiles, p)
		if p.OpensIn(family) {
			b.add(p)
		}
	}
	b.breadthFirst()
	b.link()
	b.checkSuffixes()
	if len(b.conflicts) > 0 {
		return nil, errors.Join(b.conflicts...)
	}
	return &Automaton{Family: family, Profiles: b.profiles, States: b.states}, nil
}

// ConflictError says that two profiles cannot be installed together: a position would need two
// timers, scopes or replies at once, or a port two meanings.
type ConflictError struct {
	A, B string // names of the profiles
	What string // what they differ in, with both values
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("profiles %s and %s cannot be installed together: %s", e.A, e.B, e.What)
}

// builder grows the trie. Its states are named by their path until
// breadthFirst gives them their numbers.
type builder struct {
	family    Family
	profiles  []*Profile
	states    []State
	index     map[string]int // PathText → state
	timed     []bool         // state → Within was set
	conflicts []error
}

// add walks the profile's sequence from the root and makes the states it lacks.
func (b *builder) add(p *Profile) {
	at := Root
	scope := p.ScopeIn(b.family)
	for i, step := range p.Sequence {
		if i > 0 {
			b.setTime(at, p, i, step)
		}
		path := append(slices.Clone(b.states[at].Path), step.Knock)
		next, known := b.index[PathText(path)]
		if !known {
			next = len(b.states)
			b.index[PathText(path)] = next
			b.states = append(b.states, State{Path: path, Scope: scope, Reply: p.Reply})
			b.states[at].Edges = append(b.states[at].Edges, Edge{step.Knock, next})
		} else {
			b.checkShared(&b.states[next], p, scope)
		}
		at = next
		b.states[at].Users = append(b.states[at].Users, Use{p, i + 1})
	}
	if at != Root {
		b.states[at].Grants = append(b.states[at].Grants, p)
	}
}

// setTime sets the time that a source may stay in state at, from the knock after it in p.
func (b *builder) setTime(at int, p *Profile, done int, step Step) {
	for len(b.timed) <= at {
		b.timed = append(b.timed, false)
	}
	s := &b.states[at]
	if b.timed[at] && s.Within != step.Within {
		first := b.firstContinuing(s)
		b.conflict(first.Profile.Name, p.Name, fmt.Sprintf("they share the first %s, after which one waits %s and the other %s",
			knocks(done), seconds(s.Within), seconds(step.Within)))
		return
	}
	b.timed[at], s.Within = true, step.Within
}

// firstContinuing returns the first user of s whose sequence goes on.
func (b *builder) firstContinuing(s *State) Use {
	i := slices.IndexFunc(s.Users, func(u Use) bool { return len(u.Profile.Sequence) > u.Step })
	return s.Users[max(i, 0)]
}

func (b *builder) checkShared(s *State, p *Profile, scope Scope) {
	other := s.Users[0].Profile
	if !s.Scope.equal(scope) {
		b.conflict(other.Name, p.Name, fmt.Sprintf("they share the first %s but not `interface` and `to`", knocks(len(s.Path))))
	}
	if s.Reply != p.Reply {
		b.conflict(other.Name, p.Name, fmt.Sprintf("they share the first %s but answer it differently: reply = %q and %q",
			knocks(len(s.Path)), s.Reply, p.Reply))
	}
}

// conflict keeps one reason for each pair of profiles.
func (b *builder) conflict(x, y, what string) {
	for _, err := range b.conflicts {
		if c := new(ConflictError); errors.As(err, &c) && c.A == x && c.B == y {
			return
		}
	}
	b.conflicts = append(b.conflicts, &ConflictError{x, y, what})
}

// breadthFirst numbers the states by depth, then by path, so that the numbers
// do not depend on the order in which profiles were added.
func (b *builder) breadthFirst() {
	order := make([]int, len(b.states))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(x, y int) int {
		px, py := b.states[x].Path, b.states[y].Path
		if len(px) != len(py) {
			return len(px) - len(py)
		}
		return slices.CompareFunc(px, py, Knock.Compare)
	})
	number := make([]int, len(order))
	states := make([]State, len(order))
	for n, old := range order {
		number[old], states[n] = n, b.states[old]
		b.index[PathText(states[n].Path)] = n
	}
	for i := range states {
		for j := range states[i].Edges {
			states[i].Edges[j].To = number[states[i].Edges[j].To]
		}
		slices.SortFunc(states[i].Edges, func(x, y Edge) int { return x.Knock.Compare(y.Knock) })
	}
	b.states = states
}

// link fills in what follows from the trie: suffixes, their edges, grants, and which position is
// kept. It goes breadth first: a suffix is shallower, so it is done already.
func (b *builder) link() {
	for i := range b.states {
		s := &b.states[i]
		if i == Root {
			continue
		}
		s.Fail = b.longestSuffix(s.Path)
		fail := &b.states[s.Fail]
		s.Grants = sortedByName(slices.Concat(s.Grants, fail.Grants))
		s.Keep = i
		if len(s.Edges) == 0 {
			s.Keep = fail.Keep
		}
		if s.Fail == Root {
			continue
		}
		s.Suffix = suffixEdges(s, fail)
	}
}

// suffixEdges returns the edges of fail, its own before those of its suffixes, for knocks that s
// itself has no edge for and that do not repeat its last knock.
func suffixEdges(s, fail *State) []Edge {
	var edges []Edge
	for _, e := range slices.Concat(fail.Edges, fail.Suffix) {
		has := func(o Edge) bool { return o.Knock == e.Knock }
		if e.Knock != s.Last() && !slices.ContainsFunc(s.Edges, has) && !slices.ContainsFunc(edges, has) {
			edges = append(edges, e)
		}
	}
	slices.SortFunc(edges, func(x, y Edge) int { return x.Knock.Compare(y.Knock) })
	return edges
}

func (b *builder) longestSuffix(path []Knock) int {
	for i := 1; i < len(path); i++ {
		if n, ok := b.index[PathText(path[i:])]; ok {
			return n
		}
	}
	return Root
}

// checkSuffixes refuses a state whose suffix has another time or scope: a source in the state is in
// the suffix too, with the same timer.
func (b *builder) checkSuffixes() {
	for i := range b.states {
		s := &b.states[i]
		if i == Root {
			continue
		}
		for f := s.Fail; f != Root; f = b.states[f].Fail {
			b.checkSuffix(s, &b.states[f])
		}
	}
}

func (b *builder) checkSuffix(s, suffix *State) {
	one, other := b.firstContinuing(s), b.firstContinuing(suffix)
	alike := fmt.Sprintf("after knock %d of the one a source is after knock %d of the other too (%s)",
		one.Step, other.Step, PathText(suffix.Path))
	if len(s.Edges) > 0 && len(suffix.Edges) > 0 && s.Within != suffix.Within {
		b.conflict(one.Profile.Name, other.Profile.Name, fmt.Sprintf("%s, but then one waits %s and the other %s",
			alike, seconds(s.Within), seconds(suffix.Within)))
	}
	if !s.Scope.equal(suffix.Scope) {
		b.conflict(one.Profile.Name, other.Profile.Name, alike+", but not on the same `interface` and `to`")
	}
}

func sortedByName(profiles []*Profile) []*Profile {
	return slices.SortedFunc(slices.Values(profiles), ByName)
}

// PathText writes knocks one after the other, as "icmp 7/tcp". It identifies a position, whatever
// its number.
func PathText(path []Knock) string {
	words := make([]string, len(path))
	for i, k := range path {
		words[i] = k.String()
	}
	return strings.Join(words, " ")
}
