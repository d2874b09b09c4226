package doctor

import "context"

// Examine looks at the host and returns what it found, worst first. An error says
// that ctx has ended.
func Examine(ctx context.Context, in Input) ([]Finding, error) {
	f, err := look(ctx, in)
	if err != nil {
		return nil, err
	}
	var all []Finding
	for _, check := range []func(*facts) []Finding{
		unseen, backends, installed, drift, notInForce, flavours,
		gates, knocks, untracked, conntrack, otherFamily,
		tableSize, tableFull, reversePaths, clock,
	} {
		all = append(all, check(f)...)
	}
	return sorted(all), nil
}
