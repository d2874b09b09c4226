package iptables

import (
	"fmt"
	"slices"

	"knockkit/protocol"
	"knockkit/server/iptables/save"
)

// targetOf returns the chain that a rule jumps or goes to, or "".
func targetOf(rule string) string {
	args, err := save.Args(rule)
	if err != nil {
		return "" // not ours to judge
	}
	i := slices.IndexFunc(args, func(a string) bool { return a == "-j" || a == "-g" })
	if i < 0 || i+1 >= len(args) {
		return ""
	}
	return args[i+1]
}

// foreign lists the rules that are not ours and jump into our chains.
func foreign(f protocol.Family, s *Saved) []string {
	var all []string
	for _, line := range s.Foreign {
		all = append(all, fmt.Sprintf("%s: %s", f, line))
	}
	return all
}

// refuseForeign fails when somebody else's rule needs a chain that is to go: the
// kernel would refuse it too, but perhaps after the other family's tables, and all
// leases in them, are gone.
func (s *Saved) refuseForeign(f protocol.Family, want *Ruleset) error {
	for _, line := range s.Foreign {
		chain := targetOf(line)
		if s.Ours.Chain(chain) != nil && want.Chain(chain) == nil {
			return fmt.Errorf("%s: a rule that is not ours needs the chain %s, so that it cannot go: delete the rule first: %q", f, chain, line)
		}
	}
	return nil
}
