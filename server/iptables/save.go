package iptables

import (
	"fmt"
	"slices"
	"strings"

	"knockkit/protocol"
	"knockkit/server/iptables/save"
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
	tables, err := save.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("iptables-save: %w", err)
	}
	s := &Saved{Ours: &Ruleset{Family: family}}
	for _, table := range tables {
		var at base // where our chains of the table are called
		for _, b := range bases() {
			if b.table == table.Name {
				at = b
			}
		}
		for _, c := range table.Chains {
			if at.table != "" && at.holds(c.Name) {
				s.Ours.append(c.Name).Rules = c.Rules
				continue
			}
			for _, rule := range c.Rules {
				s.foreign(at, c.Name, rule)
			}
		}
	}
	// As the kernel gets to see them: a text of ours declares them from Z to A.
	slices.SortFunc(s.Ours.Chains, func(x, y *Chain) int { return strings.Compare(x.Name, y.Name) })
	return s, nil
}

// foreign notes a rule that is not ours: a jump to us, or a way into our chains that
// we did not make.
func (s *Saved) foreign(at base, chain, rule string) {
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
		s.Foreign = append(s.Foreign, "-A "+chain+" "+rule)
	}
}
