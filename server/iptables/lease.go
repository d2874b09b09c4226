package iptables

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"knockkit/protocol"
	"knockkit/server/backend"
)

// Grant gives a lease now, for the profile's own time (d = 0) or for d. The holder has
// the profile's prefix length, or is a wider prefix.
func (b *Backend) Grant(ctx context.Context, p *protocol.Profile, holder netip.Prefix, d time.Duration) error {
	wide := holder.Bits() < p.Prefix(protocol.FamilyOf(holder.Addr()))
	is, err := b.records(ctx)
	if err != nil {
		return err
	}
	given := func(g Grant) bool { return g.Profile == p.Name && g.Holder == holder }
	if !wide && (d == 0 || d == p.Lease) {
		if err := is.note(p, holder); err != nil {
			return err
		}
		return b.dropGrants(ctx, is, given)
	}
	if p.Once {
		return backend.Unsupported("%s is for one connection: such a lease has no time of its own with iptables", p.Name)
	}
	g := Grant{Profile: p.Name, Holder: holder}
	if d == 0 {
		d = p.Lease
	}
	if d > 0 {
		g.Until = b.now().Add(d).Round(time.Second)
	}
	if err := b.changeGrants(ctx, func(f protocol.Family, kept []Grant) []Grant {
		kept = slices.DeleteFunc(kept, given)
		if f == protocol.FamilyOf(holder.Addr()) {
			kept = append(kept, g)
		}
		return kept
	}); err != nil || wide {
		return err
	}
	return is.write(p, holder, "-") // or a lease of the profile's own time would outlast it
}

// Revoke ends the leases of the holders that which picks. It returns their holders, and
// those of the profile's leases that go on.
func (b *Backend) Revoke(ctx context.Context, p *protocol.Profile, which func(holder netip.Prefix) bool) (ended, left []netip.Prefix, err error) {
	sources, err := b.Sources(ctx)
	if err != nil {
		return nil, nil, err
	}
	is, err := b.records(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, s := range backend.Longest(sources) {
		switch {
		case s.Profile != p.Name || s.State != backend.Open:
		case which(s.Address):
			ended = append(ended, s.Address)
		default:
			left = append(left, s.Address)
		}
	}
	if err := b.dropGrants(ctx, is, func(g Grant) bool { return g.Profile == p.Name && which(g.Holder) }); err != nil {
		return nil, nil, err
	}
	for f, about := range is {
		name, ok := about.Leases[p.Name]
		if !ok && p.In(f) {
			return nil, nil, unnamed(f, "the table of the leases of %s", p.Name)
		}
		if !ok {
			continue
		}
		entries, err := readTable(name)
		if err != nil {
			return nil, nil, err
		}
		for _, e := range entries {
			if holder := netip.PrefixFrom(e.Addr, p.Prefix(f)); which(holder) {
				if err := is.write(p, holder, "-"); err != nil {
					return nil, nil, err
				}
			}
		}
	}
	return ended, left, nil
}

// records are what each family says is installed.
type records map[protocol.Family]*Installed

func (s snapshot) records() (records, error) {
	is := records{}
	for f, saved := range s {
		about, err := ReadAbout(saved.Ours)
		if err != nil {
			return nil, err
		}
		is[f] = about
	}
	return is, nil
}

func (b *Backend) records(ctx context.Context) (records, error) {
	snap, err := b.read(ctx)
	if err != nil {
		return nil, err
	}
	return snap.records()
}

// note gives a lease of the profile's own time.
func (is records) note(p *protocol.Profile, holder netip.Prefix) error {
	if !holder.IsSingleIP() {
		return is.write(p, holder, "+")
	}
	f := protocol.FamilyOf(holder.Addr())
	shared, ok := is[f].Holders[p.Name]
	if !ok {
		return unnamed(f, "the table in which %s is looked for first", holder.Addr())
	}
	if err := writeTable(shared, "+"+holder.Addr().String()); err != nil {
		return err
	}
	return is.write(p, holder, "+")
}

// write changes the table of the profile's leases.
func (is records) write(p *protocol.Profile, holder netip.Prefix, op string) error {
	f := protocol.FamilyOf(holder.Addr())
	name, ok := is[f].Leases[p.Name]
	if !ok {
		return unnamed(f, "the table of the leases of %s", p.Name)
	}
	return writeTable(name, op+holder.Addr().String())
}

func unnamed(f protocol.Family, format string, args ...any) error {
	return fmt.Errorf("%s: the rules do not name %s: install it again: %w", f, fmt.Sprintf(format, args...), backend.ErrNotInstalled)
}

// dropGrants takes away the rules of leases that were given by hand.
func (b *Backend) dropGrants(ctx context.Context, is records, which func(Grant) bool) error {
	for _, about := range is {
		if slices.ContainsFunc(about.Grants, which) {
			return b.changeGrants(ctx, func(_ protocol.Family, kept []Grant) []Grant { return slices.DeleteFunc(kept, which) })
		}
	}
	return nil
}

// changeGrants commits what is installed with other hand-given leases.
func (b *Backend) changeGrants(ctx context.Context, change func(protocol.Family, []Grant) []Grant) error {
	snap, err := b.read(ctx)
	if err != nil {
		return err
	}
	is, err := snap.records()
	if err != nil {
		return err
	}
	target := map[protocol.Family]*Ruleset{}
	for f, about := range is {
		a, err := protocol.Compile(about.Profiles, f)
		if err != nil {
			return err
		}
		in := about.input(a)
		in.Grants = change(f, alive(about.Grants, b.now()))
		target[f] = Render(in)
	}
	return b.replace(ctx, snap, target)
}
