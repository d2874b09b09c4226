package iptables

import (
	"fmt"
	"slices"
	"strings"

	"knockkit/internal/kernel/iptables/save"
	"knockkit/protocol"
)

// saved is what concerns us in the tables of one family.
type saved struct {
	ours    *ruleset
	calls   [2]calls // of each of the bases
	foreign []string // other people's rules that jump into our chains, as "-A …" lines
	guessed bool     // only KNOCKD-ABOUT was read; the other chains are those that the record stands for
}

// calls says how a chain of the kernel's own jumps to ours.
type calls struct {
	first int      // position of the first jump to us, from 1; 0: there is none
	n     int      // how many such jumps there are
	rules []string // all rules of the chain, as saved
}

// readCalls finds the jumps to a chain of ours among the rules of the kernel's.
func readCalls(ours string, rules []string) calls {
	c := calls{rules: rules}
	for i, rule := range rules {
		if rule == jump+ours {
			c.n++
			if c.first == 0 {
				c.first = i + 1
			}
		}
	}
	return c
}

// readSaved finds what concerns us in the tables of a family. Other tables are only searched for
// foreign rules.
func readSaved(f protocol.Family, tables []save.Table) *saved {
	s := &saved{ours: &ruleset{Family: f}}
	for _, t := range tables {
		n := slices.IndexFunc(bases[:], func(b base) bool { return b.table == t.Name })
		for _, c := range t.Chains {
			switch {
			case n >= 0 && bases[n].has(c.Name):
				s.ours.append(c.Name).Rules = c.Rules
				continue
			case n >= 0 && bases[n].chain == c.Name:
				s.calls[n] = readCalls(bases[n].ours, c.Rules)
			}
			for _, rule := range c.Rules {
				called := n >= 0 && bases[n].chain == c.Name && rule == jump+bases[n].ours
				if !called && Ours(targetOf(rule)) {
					s.foreign = append(s.foreign, "-A "+c.Name+" "+rule)
				}
			}
		}
	}
	// As the kernel gets to see them: a text of ours declares them from Z to A.
	slices.SortFunc(s.ours.Chains, func(x, y *chain) int { return strings.Compare(x.Name, y.Name) })
	return s
}

// targetOf returns the chain that a rule jumps or goes to where that may be one of ours, or "".
func targetOf(rule string) string {
	if !strings.Contains(rule, chainTop) {
		return ""
	}
	args, err := save.Args(rule)
	if err != nil {
		return "" // not ours to judge
	}
	return jumpOf(args)
}

// jumpOf returns what a rule jumps or goes to, or "".
func jumpOf(args []string) string {
	i := slices.IndexFunc(args, func(a string) bool { return a == "-j" || a == "-g" || a == "--jump" || a == "--goto" })
	if i < 0 || i+1 >= len(args) {
		return ""
	}
	return args[i+1]
}

// refuseForeign fails where somebody else's rule needs a chain that is to go. The kernel would
// refuse that too, but perhaps after the other family's tables are gone, and all leases in them.
func (s *saved) refuseForeign(want *ruleset) error {
	for _, line := range s.foreign {
		chain := targetOf(line)
		if s.ours.chain(chain) != nil && want.chain(chain) == nil {
			return fmt.Errorf("%s: a rule that is not ours needs the chain %s, so that it cannot go: delete the rule first: %q", want.Family, chain, line)
		}
	}
	return nil
}
