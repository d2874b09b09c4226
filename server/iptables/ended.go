package iptables

import (
	"context"
	"time"

	"knockkit/protocol"
	"knockkit/server/backend"
)

// limits says how long an entry of each table means something; 0: without end.
func (t *tables) limits(policy protocol.Policy) map[string]time.Duration {
	limits := map[string]time.Duration{}
	t.eachState(func(i int) { limits[t.state(i).name] = t.automata.States[i].Within })
	for _, p := range t.automata.Profiles {
		limits[t.lease(p).name] = p.Lease
	}
	if policy.Ban != nil {
		limits[t.banned().name] = policy.Ban.For
	}
	return limits
}

// forgetEnded takes out of the tables of a family what has ended by the limits that are
// installed, where the wanted ones are longer. An entry has no end of its own, and would
// count again: a lease that was over for weeks would open.
func forgetEnded(ctx context.Context, f protocol.Family, is *Installed, want backend.Want) error {
	if len(is.Profiles) == 0 {
		return nil
	}
	a, err := protocol.Compile(is.Profiles, f)
	if err != nil {
		return nil // nobody knows what the entries mean; status says so
	}
	var clock Clock
	after := newTables(is.input(want.Of(f))).limits(want.Policy)
	for name, was := range newTables(is.input(a)).limits(is.Policy) {
		limit, stays := after[name]
		if !stays || was == 0 || limit != 0 && limit <= was {
			continue
		}
		entries, err := readTable(name)
		if err != nil {
			return err
		}
		if len(entries) > 0 && clock.HZ == 0 {
			if clock, err = readClock(ctx, f); err != nil {
				return err
			}
		}
		for _, e := range entries {
			if !clock.over(e, was) {
				continue
			}
			if err := writeTable(name, "-"+e.Addr.String()); err != nil {
				return err
			}
		}
	}
	return nil
}
