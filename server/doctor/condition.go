package doctor

import (
	"slices"
	"strings"
)

// answer says whether a match is true for a packet.
type answer uint8

// The answers. Perhaps is one that depends on more than the packet's kind (its source, a mark), or a
// match that we cannot read.
const (
	no answer = iota
	perhaps
	yes
)

func (a answer) not() answer { return yes - a }

func sure(b bool) answer {
	if b {
		return yes
	}
	return no
}

// condition is one match of a rule.
type condition struct {
	is    func(packet) answer
	words string // what is true of the packets that it matches: "come in by eth0"
}

// not turns a condition round.
func (c condition) not() condition {
	words, negated := strings.CutPrefix(c.words, "do not ")
	if !negated {
		words = "do not " + words
	}
	return condition{func(p packet) answer { return c.is(p).not() }, words}
}

func always(a answer, words string) condition {
	return condition{func(packet) answer { return a }, words}
}

// matching is the words for a match that has no others.
func matching(text string) string { return "match `" + text + "`" }

// terms say to which packets of a kind something happens: those for which all texts of the first
// list are true, and none of the second. Without texts: to every packet.
type terms struct {
	only, unless []string
}

// and narrows the terms to packets for which more is true.
func (t terms) and(only []string) terms {
	return terms{joined(t.only, only), t.unless}
}

// without narrows the terms to packets that those of other terms leave.
func (t terms) without(gone terms) terms {
	if len(gone.only) == 0 {
		return t.and(gone.unless)
	}
	those := gone.only
	for _, u := range gone.unless {
		if u != more {
			u = condition{words: u}.not().words
		}
		those = joined(those, []string{u})
	}
	return terms{t.only, joined(t.unless, []string{strings.Join(those, " and ")})}
}

// more replaces the texts behind the first few: a chain may have thousands of rules.
const more = "…"

// joined returns both lists as one, each text once.
func joined(a, b []string) []string {
	const few = 8
	all := a[:len(a):len(a)]
	for _, text := range b {
		switch {
		case len(all) > few:
			return all
		case slices.Contains(all, text):
		case len(all) == few:
			all = append(all, more)
		default:
			all = append(all, text)
		}
	}
	return all
}

func (t terms) certain() bool { return len(t.only) == 0 && len(t.unless) == 0 }

// String is ", for packets that come in by eth0, except those that come from 10.0.0.0/8".
func (t terms) String() string {
	text := ""
	if len(t.only) > 0 {
		text = ", for packets that " + strings.Join(t.only, " and ")
	}
	if len(t.unless) > 0 {
		those := "those"
		if text == "" {
			those = "packets"
		}
		text += ", except " + those + " that " + strings.Join(t.unless, " or ")
	}
	return text
}
