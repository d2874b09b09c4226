package iptables

import "fmt"

// refuseForeign fails when somebody else's rule needs a chain that is to go: the
// kernel would refuse it too, but perhaps after the other family's tables, and all
// leases in them, are gone.
func (s *saved) refuseForeign(want *ruleset) error {
	for _, line := range s.foreign {
		chain := targetOf(line)
		if s.ours.chain(chain) != nil && want.chain(chain) == nil {
			return fmt.Errorf("%s: a rule that is not ours needs the chain %s, so that it cannot go: delete the rule first: %q", want.Family, chain, line)
		}
	}
	return nil
}
