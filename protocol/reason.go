package protocol

import (
	"fmt"
	"strings"
)

// Reason says in words why the source is where it is after the event.
func (t Transition) Reason(a *Automaton) string {
	var why []string
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
