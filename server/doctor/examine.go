package doctor

import "context"

// Examine looks at the host and returns what it found, worst first. An error says
// that ctx has ended.
func Examine(ctx context.Context, in Input) ([]Finding, error) {
	f, err := Look(ctx, in)
	if err != nil {
		return nil, err
	}
	return f.Check(), nil
}

// Check turns facts into findings, worst first. It touches nothing.
func (f *Facts) Check() []Finding {
	checks := []func(*Facts) []Finding{
		unseen, backends, installed, drift, notInForce, flavours,
		gates, knocks, untracked, conntrack, otherFamily,
		tableSize, tableFull, reversePaths, clock,
	}
	var all []Finding
	for _, check := range checks {
		all = append(all, check(f)...)
	}
	return sorted(all)
}
