package iptables

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"knockkit/protocol"
	"knockkit/server/backend"
)

// Sources lists who is in a position, holds a lease, or is banned, by address.
func (b *Backend) Sources(ctx context.Context) ([]backend.Source, error) {
	snap, err := b.read(ctx)
	if err != nil {
		return nil, err
	}
	var all []backend.Source
	for _, f := range families() {
		if snap[f].Ours.Empty() {
			continue
		}
		about, err := ReadAbout(snap[f].Ours)
		if err != nil {
			continue // whose the tables are is not known; Installed says so
		}
		found, err := b.sourcesOf(ctx, f, about)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	backend.Sort(all)
	return all, nil
}

func (b *Backend) sourcesOf(ctx context.Context, f protocol.Family, about *Installed) ([]backend.Source, error) {
	a, err := protocol.Compile(about.Profiles, f)
	if err != nil {
		return nil, err
	}
	clock, err := readClock(ctx, f)
	if errors.Is(err, backend.ErrNotInstalled) {
		return nil, nil // the rules were flushed, and the tables with them; Installed says so
	}
	if err != nil {
		return nil, err
	}
	t := newTables(about.input(a))
	r := reader{clock: clock}
	for i := range a.States {
		if t.states[i] == "" {
			continue
		}
		for _, u := range a.States[i].Users {
			if u.Step < len(u.Profile.Sequence) { // a sequence that ends here is a lease, not a position
				r.add(t.state(i).name, a.States[i].Within, f.Bits(), backend.Source{
					Profile: u.Profile.Name, State: backend.Knocking, Step: u.Step, Steps: len(u.Profile.Sequence)})
			}
		}
	}
	for _, p := range a.Profiles {
		steps := len(p.Sequence)
		open := backend.Source{Profile: p.Name, State: backend.Open, Step: steps, Steps: steps}
		r.addLeases(t, p, about, open)
		for _, g := range alive(about.Grants, b.now()) {
			if g.Profile == p.Name {
				open.Address, open.Left, open.Unlimited = g.Holder, 0, g.Until.IsZero()
				if !open.Unlimited {
					open.Left = g.Until.Sub(b.now())
				}
				r.found = append(r.found, open)
			}
		}
	}
	if ban := about.Policy.Ban; ban != nil {
		r.add(t.banned().name, ban.For, f.Bits(), backend.Source{State: backend.Banned})
	}
	return r.found, r.err
}

// reader collects the live entries of tables, until something fails.
type reader struct {
	clock Clock
	found []backend.Source
	err   error
}

// addLeases appends like once for each lease of the profile. The gate asks the shared table
// first: who was pushed out of that one is not let in.
func (r *reader) addLeases(t *tables, p *protocol.Profile, about *Installed, like backend.Source) {
	n := len(r.found)
	r.add(t.lease(p).name, p.Lease, p.Prefix(t.d.family), like)
	shared, ok := t.holders(p)
	asked := ok && !slices.ContainsFunc(about.Grants, func(g Grant) bool { return g.Profile == p.Name })
	if r.err != nil || !asked || n == len(r.found) {
		return
	}
	entries, err := readTable(shared.name)
	if err != nil {
		r.err = err
		return
	}
	noted := map[netip.Addr]bool{}
	for _, e := range entries {
		noted[e.Addr] = true
	}
	leases := slices.DeleteFunc(slices.Clone(r.found[n:]), func(s backend.Source) bool { return !noted[s.Address.Addr()] })
	r.found = append(r.found[:n], leases...)
}

// add appends like once for each entry of the table that is at most limit old
// (0: of any age).
func (r *reader) add(name string, limit time.Duration, bits int, like backend.Source) {
	if r.err != nil {
		return
	}
	entries, err := readTable(name)
	if err != nil {
		r.err = err
		return
	}
	for _, e := range entries {
		if r.clock.over(e, limit) {
			continue
		}
		s := like
		s.Address = netip.PrefixFrom(e.Addr, bits)
		s.Left, s.Unlimited = limit-r.clock.Age(e.LastSeen), limit == 0
		r.found = append(r.found, s)
	}
}
