package iptables

import "knockkit/protocol"

// Input is what the rules of one family follow from.
type Input struct {
	Automaton *protocol.Automaton
	Policy    protocol.Policy
	Known     Known    // names of tables that are in the kernel; may be nil
	Holders   Holders  // likewise
	Leases    Leases   // likewise
	Taken     []string // names that a new table may not have: others are in the kernel
	Grants    []Grant  // leases given by hand for a time of their own
	Spare     []Spare  // tables that are to live on without use
}

// render is one run of Render.
type render struct {
	Input
	dialect
	*tables
	out *Ruleset
}

// Render returns the rules for the automaton. It is pure: the same input gives
// the same rules. With no profiles the ruleset is empty.
func Render(in Input) *Ruleset {
	r := &render{
		Input:   in,
		dialect: dialect{in.Automaton.Family},
		tables:  newTables(in),
		out:     &Ruleset{Family: in.Automaton.Family},
	}
	if len(in.Automaton.Profiles) == 0 {
		return r.out
	}
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
