package protocol

import (
	"fmt"
	"strings"
)

// Mermaid returns the automaton as a Mermaid state diagram. Repeats and the way
// back to the start are not drawn: every state has them. A signed profile is drawn as if its token led
// somewhere: it opens in every state, and leaves the source where it is.
func Mermaid(a *Automaton) string {
	var b strings.Builder
	b.WriteString("stateDiagram-v2\n    direction LR\n")
	for i := range a.States {
		fmt.Fprintf(&b, "    s%d: %s\n", i, a.label(i, "<br/>"))
	}
	signed := a.signed()
	for i, p := range signed {
		fmt.Fprintf(&b, "    s%d: %s\n", len(a.States)+i, "signed<br/>opens "+p.Name)
	}
	fmt.Fprintf(&b, "    [*] --> s%d\n", Root)
	a.eachEdge(func(from int, e Edge, why string) {
		fmt.Fprintf(&b, "    s%d --> s%d: %s\n", from, e.To, why)
	})
	for i, p := range signed {
		fmt.Fprintf(&b, "    s%d --> s%d: %s\n", Root, len(a.States)+i, p.Signed)
	}
	return b.String()
}

// Dot returns the automaton in Graphviz's language, drawn as by [Mermaid].
func Dot(a *Automaton) string {
	var b strings.Builder
	b.WriteString("digraph knockd {\n\trankdir=LR;\n\tnode [shape=box, style=rounded];\n")
	for i := range a.States {
		shape := ""
		if len(a.States[i].Grants) > 0 {
			shape = ", peripheries=2"
		}
		fmt.Fprintf(&b, "\ts%d [label=\"%s\"%s];\n", i, a.label(i, `\n`), shape)
	}
	signed := a.signed()
	for i, p := range signed {
		fmt.Fprintf(&b, "\ts%d [label=\"%s\", peripheries=2];\n", len(a.States)+i, `signed\nopens `+p.Name)
	}
	a.eachEdge(func(from int, e Edge, why string) {
		fmt.Fprintf(&b, "\ts%d -> s%d [label=\"%s\"];\n", from, e.To, why)
	})
	for i, p := range signed {
		fmt.Fprintf(&b, "\ts%d -> s%d [label=\"%s\"];\n", Root, len(a.States)+i, p.Signed)
	}
	b.WriteString("}\n")
	return b.String()
}

// signed returns the signed profiles that somebody can open in the family.
func (a *Automaton) signed() (all []*Profile) {
	for _, p := range a.Profiles {
		if p.Signed != nil && p.OpensIn(a.Family) {
			all = append(all, p)
		}
	}
	return all
}

// String says what opens the profile: "token of a user, by icmp".
func (s *Signed) String() string { return "token of a user, by " + s.Carrier.String() }

// label says where a state is in whose sequence, and what entering it opens.
func (a *Automaton) label(i int, newline string) string {
	text := a.StateName(i)
	for _, p := range a.States[i].Grants {
		text += newline + "opens " + p.Name
	}
	return text
}

// eachEdge calls f for every edge that is drawn.
func (a *Automaton) eachEdge(f func(from int, e Edge, why string)) {
	for i := range a.States {
		s := &a.States[i]
		for _, e := range s.Edges {
			why := e.Knock.String()
			if i != Root && s.Within > 0 {
				why += " within " + FormatDuration(s.Within)
			}
			f(i, e, why)
		}
		for _, e := range s.Suffix {
			f(i, e, e.Knock.String()+" (as in "+a.StateName(s.Fail)+")")
		}
	}
}
