package iptables

import (
	"bufio"
	"fmt"
	"slices"
	"strings"

	"knockkit/protocol"
)

// Saved is what iptables-save says about one family.
type Saved struct {
	Ours       *Ruleset
	Input      Calls
	Prerouting Calls    // of the table mangle
	Foreign    []string // other people's rules that jump into our chains, as "-A …" lines
}

// Calls says how a chain of the kernel's own calls ours.
type Calls struct {
	First int      // position of the first jump to us, from 1; 0: there is none
	N     int      // how many such jumps there are
	Rules []string // all rules of the chain, as saved
}

func (s *Saved) calls(at base) *Calls {
	if at.ours == chainPre {
		return &s.Prerouting
	}
	return &s.Input
}

// ParseSave reads the output of iptables-save. Tables that hold nothing of ours are
// only searched for foreign rules.
func ParseSave(family protocol.Family, text string) (*Saved, error) {
	s := &Saved{Ours: &Ruleset{Family: family}}
	var at base // where our chains of the current table are called
	lines := bufio.NewScanner(strings.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		switch {
		case strings.HasPrefix(line, "*"):
			at = base{}
			for _, b := range bases() {
				if b.table == line[1:] {
					at = b
				}
			}
		case strings.HasPrefix(line, ":"):
			if name, _, ok := strings.Cut(line[1:], " "); ok && at.table != "" && at.holds(name) {
				s.Ours.append(name)
			}
		case strings.HasPrefix(line, "-A "):
			name, rule, _ := strings.Cut(line[len("-A "):], " ")
			if c := s.Ours.Chain(name); c != nil && at.table != "" && at.holds(name) {
				c.Rules = append(c.Rules, rule)
				continue
			}
			s.foreign(at, name, rule, line)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("iptables-save: %w", err)
	}
	// As the kernel gets to see them: a text of ours declares them from Z to A.
	slices.SortFunc(s.Ours.Chains, func(x, y *Chain) int { return strings.Compare(x.Name, y.Name) })
	return s, nil
}

// foreign notes a rule that is not ours: a jump to us, or a way into our chains that
// we did not make.
func (s *Saved) foreign(at base, chain, rule, line string) {
	if at.table != "" && chain == at.chain {
		calls := s.calls(at)
		calls.Rules = append(calls.Rules, rule)
		if rule == jump+at.ours {
			calls.N++
			if calls.First == 0 {
				calls.First = len(calls.Rules)
			}
			return
		}
	}
	if Ours(targetOf(rule)) {
		s.Foreign = append(s.Foreign, line)
	}
}
