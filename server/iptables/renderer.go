package iptables

import "knockkit/protocol"

// input is what the rules of one family follow from.
type input struct {
	Automaton *protocol.Automaton
	Policy    protocol.Policy
	Known     map[string]string // names of tables that are in the kernel, as [about] has them; may be nil
	Holders   map[string]string // likewise
	Leases    map[string]string // likewise
	Taken     []string          // names that a new table may not have: others are in the kernel
	Grants    []grant           // leases given by hand for a time of their own
	Spare     []table           // that are to live on, used or not
}

// renderer is one run of render.
type renderer struct {
	input
	dialect
	*tables
	out *ruleset
}

// render returns the rules for the automaton. It is pure: the same input gives
// the same rules. With no profiles the ruleset is empty.
func render(in input) *ruleset {
	r := &renderer{
		input:   in,
		dialect: dialect{in.Automaton.Family},
		tables:  newTables(in),
		out:     &ruleset{Family: in.Automaton.Family},
	}
	if len(in.Automaton.Profiles) == 0 {
		return r.out
	}
	r.out.names, r.out.uses = r.tables, r.hottest(in.Policy.Ban, in.Spare)
	r.about()
	r.entry()
	r.progressChain()
	r.eachState(r.at)
	for i := 1; i < len(r.Automaton.States); i++ {
		r.in(i)
	}
	r.over()
	r.portChains()
	r.gates()
	r.preroutingGates()
	return r.out
}
