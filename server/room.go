package server

import (
	"context"
	"fmt"
	"strings"

	"knockkit/server/backend"
	"knockkit/server/iptables"
)

// SmallTables is about recency tables that hold fewer addresses than knockd asks for.
func SmallTables(m iptables.Module) (Reason, bool) {
	return Reason{
		ReasonRoom, "",
		fmt.Sprintf("xt_recent remembers %d addresses a table", m.Limit),
		"one more pushes the oldest out, a lease holder too, and a flood of first knocks everybody who is knocking",
		m.Raise(),
	}, m.Small()
}

// FullTables is about the tables of a backend that are full or nearly so. m is only
// asked with iptables.
func FullTables(backendName string, fills []backend.Fill, m iptables.Module) (Reason, bool) {
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
func (s *Server) tableAdvice(ctx context.Context, fills []backend.Fill) ([]Reason, error) {
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

// roomNotes is the advice after an install. The sets of nftables are left to `status`: to
// count them, nft would list every address in them.
func (s *Server) roomNotes(ctx context.Context) []string {
	b, ok := s.backend.(*iptables.Backend)
	if !ok {
		return nil
	}
	fills, err := b.Fill(ctx)
	var all []Reason
	if err == nil {
		all, err = s.tableAdvice(ctx, fills)
	}
	if err != nil {
		return []string{fmt.Sprintf("how much the kernel's tables hold could not be read: %v", err)}
	}
	var notes []string
	for _, r := range all {
		notes = append(notes, r.String())
	}
	return notes
}
