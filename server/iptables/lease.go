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

// Grant gives a lease now, for the profile's own time (d = 0) or for d. The
// holder has the profile's prefix length.
func (b *Backend) Grant(ctx context.Context, p *protocol.Profile, holder netip.Prefix, d time.Duration) error {
	if d == 0 || d == p.Lease {
		is, err := b.records(ctx)
		if err != nil {
			return err
		}
		if err := is.note(p, holder); err != nil {
			return err
		}
		return b.dropGrants(ctx, is, p, holder)
	}
	if p.Once {
		return backend.Unsupported("%s is for one connection: such a lease has no time of its own with iptables", p.Name)
	}
	until := b.now().Add(d).Round(time.Second)
	if err := b.changeGrants(ctx, func(f protocol.Family, kept []Grant) []Grant {
		kept = without(kept, p, holder)
		if f == protocol.FamilyOf(holder.Addr()) {
			kept = append(kept, Grant{p.Name, holder, until})
		}
		return kept
	}); err != nil {
		return err
	}
	return forgetLease(p, holder) // or a lease of the profile's own time would outlast it
}

// Revoke ends the holder's lease, and reports whether there was one.
func (b *Backend) Revoke(ctx context.Context, p *protocol.Profile, holder netip.Prefix) (bool, error) {
	sources, err := b.Sources(ctx)
	if err != nil {
		return false, err
	}
	is, err := b.records(ctx)
	if err != nil {
		return false, err
	}
	held := slices.ContainsFunc(sources, func(s backend.Source) bool {
		return s.Profile == p.Name && s.State == backend.Open && s.Address == holder
	})
	if err := b.dropGrants(ctx, is, p, holder); err != nil {
		return held, err
	}
	return held, forgetLease(p, holder)
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
		return writeLease(p, holder, "+")
	}
	f := protocol.FamilyOf(holder.Addr())
	shared, ok := is[f].Holders[p.Name]
	if !ok {
		return fmt.Errorf("%s: the rules do not name the table in which %s is looked for first: install it again: %w", f, holder.Addr(), backend.ErrNotInstalled)
	}
	if err := writeTable(shared, "+"+holder.Addr().String()); err != nil {
		return err
	}
	return writeLease(p, holder, "+")
}

func forgetLease(p *protocol.Profile, holder netip.Prefix) error { return writeLease(p, holder, "-") }

// writeLease changes the profile's lease table.
func writeLease(p *protocol.Profile, holder netip.Prefix, op string) error {
	t := tables{d: dialect{protocol.FamilyOf(holder.Addr())}}
	return writeTable(t.lease(p).name, op+holder.Addr().String())
}

func without(grants []Grant, p *protocol.Profile, holder netip.Prefix) []Grant {
	return slices.DeleteFunc(grants, func(g Grant) bool { return g.Profile == p.Name && g.Holder == holder })
}

// dropGrants takes away the rules that were given to the holder by hand.
func (b *Backend) dropGrants(ctx context.Context, is records, p *protocol.Profile, holder netip.Prefix) error {
	given := func(g Grant) bool { return g.Profile == p.Name && g.Holder == holder }
	if !slices.ContainsFunc(is[protocol.FamilyOf(holder.Addr())].Grants, given) {
		return nil
	}
	return b.changeGrants(ctx, func(_ protocol.Family, kept []Grant) []Grant { return without(kept, p, holder) })
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
		target[f] = Render(Input{Automaton: a, Policy: about.Policy, Known: about.Known, Holders: about.Holders, Grants: change(f, alive(about.Grants, b.now()))})
	}
	return b.replace(ctx, snap, target)
}
