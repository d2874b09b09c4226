package server

import (
	"context"
	"fmt"
	"strings"

	"knockkit/internal/kernel/iptables"
	"knockkit/protocol"
)

// SmallTables is the reason that recency tables have room for fewer addresses than knockd asks
// for; ok is false when they have enough.
func SmallTables(m Module) (small Reason, ok bool) {
	return Reason{
		ReasonSmall, "",
		fmt.Sprintf("xt_recent remembers %d addresses a table", m.Limit),
		"one more pushes the oldest out, a lease holder too, and a flood of first knocks everybody who is knocking",
		m.Raise(),
	}, m.Small()
}

// FullTables is the reason that tables of a backend are full or nearly so; ok is false when none
// is. m counts with iptables only.
func FullTables(backendName string, fills []Fill, m Module) (full Reason, ok bool) {
	var all []string
	for _, f := range fills {
		if f.NearlyFull() {
			all = append(all, fmt.Sprintf("%s (%d of %d)", f.Table, f.Entries, f.Limit))
		}
	}
	r := Reason{
		ReasonRoom, "",
		"full or nearly so: " + strings.Join(all, ", "),
		"a full table forgets its oldest address, whose time is not over, for each new one",
		m.Raise(),
	}
	if backendName == "nftables" {
		r.Why = "a full set takes no new address until the time of another is over"
		r.Todo = "positions end by `within`, and a flood of forged first knocks fills them again: narrow `from`; leases end by `lease`, or by knockd revoke"
	}
	return r, len(all) > 0
}

// tableAdvice says what is wrong with how much the kernel's tables hold, or are full of.
func (s *Server) tableAdvice(ctx context.Context, fills []Fill) ([]Reason, error) {
	var m iptables.Module
	if s.backend.Name() == "iptables" {
		var err error
		if m, err = iptables.ReadModule(ctx); err != nil {
			return nil, err
		}
	}
	if r, ok := FullTables(s.backend.Name(), fills, m); ok {
		return []Reason{r}, nil
	}
	if r, ok := SmallTables(m); ok {
		return []Reason{r}, nil
	}
	return nil, nil
}

// roomNotes is the advice after an install.
func (s *Server) roomNotes(ctx context.Context, fills []Fill) []string {
	all, err := s.tableAdvice(ctx, fills)
	if err != nil {
		return []string{fmt.Sprintf("how much the kernel's tables hold could not be read: %v", err)}
	}
	var notes []string
	for _, r := range all {
		notes = append(notes, r.String())
	}
	return notes
}

// pushedOut is about leases that a full recency table forgot for one that was given.
func pushedOut(ctx context.Context, lost []Source) Reason {
	var who []string
	for _, s := range lost {
		who = append(who, fmt.Sprintf("%s (%s)", protocol.PrefixText(s.Address), s.Profile))
	}
	a := Reason{Kind: ReasonRoom, Found: "who has lost a lease for it: " + strings.Join(who, ", "), Why: "a table was full"}
	if m, err := iptables.ReadModule(ctx); err == nil { // how large it is, the lease does not depend on
		a.Why, a.Todo = fmt.Sprintf("a table holds %d addresses, and was full", m.Limit), m.Raise()
	}
	return a
}
