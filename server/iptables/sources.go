package iptables

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
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
	t := newTables(a, about.Known, about.Holders)
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
		r.add(t.lease(p).name, p.Lease, p.Prefix(f), open)
		for _, g := range alive(about.Grants, b.now()) {
			if g.Profile == p.Name {
				open.Address, open.Left = g.Holder, g.Until.Sub(b.now())
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

// Fill says how full each table is that holds anybody.
func (b *Backend) Fill(ctx context.Context) ([]backend.Fill, error) {
	limit, err := TableLimit()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // xt_recent comes with the first rule that needs it
	}
	if err != nil {
		return nil, err
	}
	snap, err := b.read(ctx)
	if err != nil {
		return nil, err
	}
	var fills []backend.Fill
	for _, f := range families() {
		for _, t := range tablesOf(snap[f].Ours) {
			entries, err := readTable(t.name)
			if err != nil {
				return nil, err
			}
			if len(entries) > 0 && t.name != (&tables{d: dialect{f}}).clock().name {
				fills = append(fills, backend.Fill{Table: t.name, Entries: len(entries), Limit: limit})
			}
		}
	}
	return fills, nil
}
