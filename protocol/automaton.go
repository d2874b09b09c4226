package protocol

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Automaton is all given profiles compiled into one deterministic state
// machine for one address family (the language that an Aho-Corasick
// automaton over all sequences accepts). States[0] is the root: "no position".
//
// An Automaton is read-only after [Compile].
type Automaton struct {
	Family   Family
	Profiles []*Profile // those with a gate in the family, by name
	States   []State    // breadth first, so a shallower state has a lower number
}

// Root is the number of the state "no position".
const Root = 0

// State is one prefix of one or more sequences.
type State struct {
	Path  []Knock // the knocks that lead here from the root
	Users []Use   // the profiles whose sequence passes here, by name; empty for the root

	// Within is the longest time until the next event: whole seconds, 0 = no
	// limit. It means nothing in a state that nobody stays in (Keep).
	Within time.Duration
	Scope  Scope // where the packet must come in that is the knock that leads here
	Reply  Reply // what happens to the knock that leads here

	Edges  []Edge // to the states one knock further, by knock
	Suffix []Edge // edges of the longest proper suffix that has one for a knock; those of the root are left out
	Fail   int    // the longest proper suffix that is a state

	Grants []*Profile // profiles that entering opens, once per entry, by name
	Keep   int        // the position after entering: the state itself, or its longest suffix that has a next knock
}

// Edge leads to state To on a packet of kind Knock within To's scope.
type Edge struct {
	Knock Knock
	To    int
}

// Use says that the first Step knocks of the profile lead to a state.
type Use struct {
	Profile *Profile
	Step    int // 1 to the length of the sequence
}

// Scope is where a profile's packets must come in. The zero Scope is anywhere.
type Scope struct {
	Interface string
	To        []netip.Prefix // of the automaton's family; empty: any address of the host
}

// equal reports whether two scopes hold for the same packets.
func (s Scope) equal(o Scope) bool {
	return s.Interface == o.Interface && slices.Equal(s.To, o.To)
}

// Matches reports whether a packet to dst that came in on iface is in the scope.
func (s Scope) Matches(dst netip.Addr, iface string) bool {
	if s.Interface != "" && s.Interface != iface {
		return false
	}
	return len(s.To) == 0 || anyContains(s.To, dst)
}

// ScopeIn returns the profile's scope in one family.
func (p *Profile) ScopeIn(f Family) Scope {
	return Scope{Interface: p.Interface, To: PrefixesIn(p.To, f)}
}

// Last returns the knock that leads to the state. The root has none.
func (s *State) Last() Knock { return s.Path[len(s.Path)-1] }

// Stays reports whether a source can be in state i after an event: whether
// something comes next.
func (a *Automaton) Stays(i int) bool { return i == Root || a.States[i].Keep == i }

// Starts returns the edges of the root.
func (a *Automaton) Starts() []Edge { return a.States[Root].Edges }

// Longest returns the longest time that a source can be in a position; 0 when some position has no
// limit.
func (a *Automaton) Longest() time.Duration {
	var longest time.Duration
	for i := range a.States {
		if i == Root || !a.Stays(i) {
			continue
		}
		if a.States[i].Within == 0 {
			return 0
		}
		longest = max(longest, a.States[i].Within)
	}
	return longest
}

// Alphabet returns the knocks of all sequences, each with the scopes in which it counts, in order.
func (a *Automaton) Alphabet() []Letter {
	var letters []Letter
	for i := range a.States {
		if i == Root {
			continue
		}
		l := Letter{a.States[i].Last(), a.States[i].Scope}
		if !slices.ContainsFunc(letters, func(o Letter) bool { return o.Knock == l.Knock && o.Scope.equal(l.Scope) }) {
			letters = append(letters, l)
		}
	}
	slices.SortStableFunc(letters, func(x, y Letter) int { return x.Knock.Compare(y.Knock) })
	return letters
}

// Letter is a knock with the scope in which it counts.
type Letter struct {
	Knock Knock
	Scope Scope
}

func anyContains(prefixes []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
}

// Explain says in words why the source is where it is after the event.
func (t Transition) Explain(a *Automaton) string {
	var why []string
	if t.Token != NoToken {
		why = append(why, t.explainToken())
	}
	if t.Expired != Root {
		why = append(why, fmt.Sprintf("expired: the time after %s was over (%s)", a.StateName(t.Expired), FormatDuration(a.States[t.Expired].Within)))
	}
	switch t.Why {
	case Nothing:
		why = append(why, "starts no sequence")
	case Advance, Start:
		why = append(why, fmt.Sprintf("%s: %s", t.Why, a.StateName(t.Entered)))
	case Suffix:
		why = append(why, fmt.Sprintf("suffix: the last knocks are those of %s", a.StateName(t.Entered)))
	case Repeat:
		why = append(why, "repeat: the same knock again, its time starts again")
	case StartOver:
		why = append(why, "start over: "+a.expected(t.From)+" was expected")
	case ByToken: // the token says it
	default:
		why = append(why, t.Why.String())
	}
	if t.Banned {
		why = append(why, "banned from now on")
	}
	return strings.Join(why, "; ")
}

// expected lists the knocks that lead on from a state.
func (a *Automaton) expected(i int) string {
	var next []string
	for _, e := range a.States[i].Edges {
		next = append(next, e.Knock.String())
	}
	return strings.Join(next, " or ")
}
