package iptables

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"knockkit/protocol"
	"knockkit/server/backend"
)

// Backend is the iptables of the host, whichever flavour its commands are.
type Backend struct {
	now  func() time.Time
	hold *os.File
}

// Hold makes every tool that the backend starts keep f open. A lock that goes with
// an open file is then held until the tool has ended, also when we are killed.
func (b *Backend) Hold(f *os.File) { b.hold = f }

func (b *Backend) tool(f protocol.Family) tool { return tool{f, b.hold} }

// New returns the backend. It touches nothing.
func New() *Backend { return &Backend{now: time.Now} }

// Name returns "iptables".
func (*Backend) Name() string { return "iptables" }

// snapshot is what is installed in the families that the host has.
type snapshot map[protocol.Family]*Saved

// families returns those that the kernel has: a host without IPv6 has nothing to gate there.
func families() []protocol.Family {
	if _, err := os.Stat("/proc/thread-self/net/if_inet6"); err != nil {
		return []protocol.Family{protocol.IPv4}
	}
	return protocol.Families()
}

func (b *Backend) read(ctx context.Context) (snapshot, error) {
	snap := snapshot{}
	for _, f := range families() {
		saved, err := b.tool(f).save(ctx)
		if err != nil {
			return nil, err
		}
		snap[f] = saved
	}
	return snap, nil
}

// installedOrNone reads what is installed. Where somebody changed the record, what is wanted is
// still known; what is lost is only which table held which position.
func installedOrNone(was *Saved) *Installed {
	about, err := ReadAbout(was.Ours)
	if err != nil {
		return &Installed{}
	}
	return about
}

// rules renders one family, keeping the names and the hand-given leases that are there.
func (b *Backend) rules(about *Installed, f protocol.Family, want backend.Want) *Ruleset {
	kept := append(alive(about.Grants, b.now()), b.carried(want)...)
	in := Input{Automaton: want.Of(f), Policy: want.Policy, Known: about.Known, Grants: fitting(kept, want.Of(f))}
	if want.Trial {
		in.Spare = about.Spare
	}
	return Render(in)
}

// carried returns the leases that another backend has granted, as given by hand:
// an entry of a recency table cannot be dated. One without end lasts a year; that of
// a `once` profile is then for more than one connection.
func (b *Backend) carried(want backend.Want) []Grant {
	var grants []Grant
	for _, s := range want.Carried {
		left := s.Left
		if s.Unlimited {
			left = 365 * 24 * time.Hour
		}
		if s.State == backend.Open {
			grants = append(grants, Grant{s.Profile, s.Address, b.now().Add(left).Round(time.Second)})
		}
	}
	return grants
}

// Render returns the texts that Commit would feed to the host's tools.
func (b *Backend) Render(ctx context.Context, want backend.Want) ([]backend.Text, error) {
	snap, err := b.read(ctx)
	if errors.Is(err, backend.ErrPrivilege) || errors.Is(err, backend.ErrUnsupported) {
		// Who may not look can still be shown what a clean host would get.
		snap, err = snapshot{}, nil
		for _, f := range protocol.Families() {
			snap[f] = &Saved{Ours: &Ruleset{Family: f}}
		}
	}
	if err != nil {
		return nil, err
	}
	var texts []backend.Text
	for _, f := range protocol.Families() {
		if snap[f] == nil {
			continue
		}
		rules := b.rules(installedOrNone(snap[f]), f, want)
		texts = append(texts, backend.Text{Family: f, Tool: strings.Join(b.tool(f).restoreCommand(), " "), Text: Transaction(snap[f], rules)})
	}
	return texts, nil
}

// Commit makes want what is installed: one transaction a family. When the second
// one fails, the first is put back.
func (b *Backend) Commit(ctx context.Context, want backend.Want) error {
	snap, err := b.read(ctx)
	if err != nil {
		return err
	}
	if err := refuseMix(ctx); err != nil {
		return err
	}
	target := map[protocol.Family]*Ruleset{}
	for f, saved := range snap {
		about := installedOrNone(saved)
		target[f] = b.rules(about, f, want)
		if err := forgetEnded(ctx, f, about, want); err != nil {
			return fmt.Errorf("forget what has ended: %w", err)
		}
	}
	return b.replace(ctx, snap, target)
}

// replace commits the rulesets of both families, or none.
func (b *Backend) replace(ctx context.Context, was snapshot, target map[protocol.Family]*Ruleset) error {
	for _, f := range families() {
		if err := was[f].refuseForeign(f, target[f]); err != nil {
			return err
		}
	}
	for i, f := range families() {
		err := b.tool(f).commit(ctx, Transaction(was[f], target[f]))
		if err == nil {
			continue
		}
		for _, done := range families()[:i+1] { // this one too: it may be two transactions
			if done == f && target[f].Chain(chainPre) == nil && was[f].Ours.Chain(chainPre) == nil {
				continue
			}
			if undo := b.restoreFamily(context.WithoutCancel(ctx), done, was[done].Ours); undo != nil {
				err = fmt.Errorf("%w; and %s could not be put back: %w", err, done, undo)
			}
		}
		return err
	}
	return nil
}

func (b *Backend) restoreFamily(ctx context.Context, f protocol.Family, rules *Ruleset) error {
	now, err := b.tool(f).save(ctx)
	if err != nil {
		return err
	}
	return b.tool(f).commit(ctx, Transaction(now, rules))
}

// Save returns the installed rules of ours as text that [Backend.PutBack] takes.
func (b *Backend) Save(ctx context.Context) ([]backend.Text, error) {
	snap, err := b.read(ctx)
	if err != nil {
		return nil, err
	}
	var texts []backend.Text
	for _, f := range families() {
		texts = append(texts, backend.Text{Family: f, Text: snap[f].Ours.Text()})
	}
	return texts, nil
}

// PutBack makes the rules of an earlier Save what is installed.
func (b *Backend) PutBack(ctx context.Context, texts []backend.Text) error {
	snap, err := b.read(ctx)
	if err != nil {
		return err
	}
	target := map[protocol.Family]*Ruleset{}
	for _, t := range texts {
		saved, err := ParseSave(t.Family, t.Text)
		if err != nil {
			return err
		}
		target[t.Family] = saved.Ours
	}
	return b.replace(ctx, snap, target)
}

// Installed reads what the kernel says is installed.
func (b *Backend) Installed(ctx context.Context) (backend.Installed, error) {
	snap, err := b.read(ctx)
	if err != nil {
		return backend.Installed{}, err
	}
	var in backend.Installed
	records := map[protocol.Family]*Installed{}
	for _, f := range families() {
		in.Foreign = append(in.Foreign, foreign(f, snap[f])...)
		about, err := ReadAbout(snap[f].Ours)
		if err != nil {
			in.Drift = append(in.Drift, fmt.Sprintf("%s: %v", f, err))
			continue
		}
		records[f] = about
		for _, p := range about.Profiles {
			if !slices.ContainsFunc(in.Profiles, func(o *protocol.Profile) bool { return o.Name == p.Name }) {
				in.Profiles = append(in.Profiles, p)
			}
		}
		if len(about.Profiles) > 0 {
			in.Policy = about.Policy
		}
		in.Drift = append(in.Drift, drift(f, snap[f], about)...)
	}
	for _, f := range families() {
		if snap[f].Ours.Empty() || records[f] != nil && len(records[f].Profiles) > 0 {
			in.Drift = append(in.Drift, missing(f, records[f].Profiles, in.Profiles)...)
		}
	}
	slices.SortFunc(in.Profiles, func(x, y *protocol.Profile) int { return cmp.Compare(x.Name, y.Name) })
	return in, nil
}

// Grant gives a lease now, for the profile's own time (d = 0) or for d. The
// holder has the profile's prefix length.
func (b *Backend) Grant(ctx context.Context, p *protocol.Profile, holder netip.Prefix, d time.Duration) error {
	if d == 0 || d == p.Lease {
		if err := b.write(p, holder, "+"); err != nil {
			return err
		}
		return b.dropGrants(ctx, p, holder)
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
	return b.write(p, holder, "-") // or a lease of the profile's own time would outlast it
}

// Revoke ends the holder's lease, and reports whether there was one.
func (b *Backend) Revoke(ctx context.Context, p *protocol.Profile, holder netip.Prefix) (bool, error) {
	sources, err := b.Sources(ctx)
	if err != nil {
		return false, err
	}
	held := slices.ContainsFunc(sources, func(s backend.Source) bool {
		return s.Profile == p.Name && s.State == backend.Open && s.Address == holder
	})
	if err := b.dropGrants(ctx, p, holder); err != nil {
		return held, err
	}
	return held, b.write(p, holder, "-")
}

// write changes the profile's lease table, and adds to the one it shares.
func (b *Backend) write(p *protocol.Profile, holder netip.Prefix, op string) error {
	t := tables{d: dialect{protocol.FamilyOf(holder.Addr())}}
	if shared, ok := t.holders(p); ok && op == "+" {
		if err := writeTable(shared.name, op+holder.Addr().String()); err != nil {
			return err
		}
	}
	return writeTable(t.lease(p).name, op+holder.Addr().String())
}

func without(grants []Grant, p *protocol.Profile, holder netip.Prefix) []Grant {
	return slices.DeleteFunc(grants, func(g Grant) bool { return g.Profile == p.Name && g.Holder == holder })
}

// dropGrants takes away the rules that were given to the holder by hand.
func (b *Backend) dropGrants(ctx context.Context, p *protocol.Profile, holder netip.Prefix) error {
	had, err := b.grants(ctx)
	if err != nil {
		return err
	}
	if len(without(slices.Clone(had), p, holder)) == len(had) {
		return nil
	}
	return b.changeGrants(ctx, func(_ protocol.Family, kept []Grant) []Grant { return without(kept, p, holder) })
}

// grants lists the leases given by hand that are alive.
func (b *Backend) grants(ctx context.Context) ([]Grant, error) {
	snap, err := b.read(ctx)
	if err != nil {
		return nil, err
	}
	var all []Grant
	for _, f := range families() {
		about, err := ReadAbout(snap[f].Ours)
		if err != nil {
			return nil, err
		}
		all = append(all, alive(about.Grants, b.now())...)
	}
	return all, nil
}

// changeGrants commits what is installed with other hand-given leases.
func (b *Backend) changeGrants(ctx context.Context, change func(protocol.Family, []Grant) []Grant) error {
	snap, err := b.read(ctx)
	if err != nil {
		return err
	}
	target := map[protocol.Family]*Ruleset{}
	for f, saved := range snap {
		about, err := ReadAbout(saved.Ours)
		if err != nil {
			return err
		}
		a, err := protocol.Compile(about.Profiles, f)
		if err != nil {
			return err
		}
		target[f] = Render(Input{Automaton: a, Policy: about.Policy, Known: about.Known, Grants: change(f, alive(about.Grants, b.now()))})
	}
	return b.replace(ctx, snap, target)
}
