package doctor

import (
	"context"
	"slices"
)

// Examine looks at the host and returns what it found, worst first. An error says
// that ctx has ended.
func Examine(ctx context.Context, in Input) ([]Finding, error) {
	f, err := Look(ctx, in)
	if err != nil {
		return nil, err
	}
	return f.Check(), nil
}

// Published returns the findings about gated ports that are open all the same, since
// their packets go elsewhere before the gate: what an install should say at once.
func Published(ctx context.Context, in Input) ([]Finding, error) {
	f := &Facts{Input: in}
	f.lookAtOurs(ctx)
	f.lookAtRules(ctx)
	return slices.DeleteFunc(gates(f), func(found Finding) bool { return found.ID != IDPublished }), ctx.Err()
}

// Check turns facts into findings, worst first. It touches nothing.
func (f *Facts) Check() []Finding {
	checks := []func(*Facts) []Finding{
		unseen, backends, installed, drift, foreignJumps, flavours,
		gates, knocks, untracked, conntrack, otherFamily,
		tableSize, tableFull, reversePaths, clock,
	}
	var all []Finding
	for _, check := range checks {
		all = append(all, check(f)...)
	}
	return sorted(all)
}
