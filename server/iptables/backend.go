package iptables

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
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
	hold []*os.File
}

// Hold makes every tool that the backend starts keep these files open. A lock that goes
// with an open file is then held until the tool has ended, also when we are killed.
func (b *Backend) Hold(files ...*os.File) { b.hold = files }

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
// still known; what is lost is which table held which position, and what leases were for.
func installedOrNone(was *Saved) *Installed {
	about, err := ReadAbout(was.Ours)
	if err != nil {
		return &Installed{Holders: ReadHolders(was.Ours)}
	}
	return about
}

// rules renders one family, keeping the names and the hand-given leases that stay.
func (b *Backend) rules(was *Saved, f protocol.Family, want backend.Want) (*Ruleset, error) {
	about, a := installedOrNone(was), want.Of(f)
	stay := backend.Staying(about.Profiles, a)
	in := about.input(a)
	in.Policy = want.Policy
	in.Leases = maps.Clone(about.Leases)
	maps.DeleteFunc(in.Leases, func(profile, _ string) bool { return !stay[profile] })
	kept := slices.DeleteFunc(alive(about.Grants, b.now()), func(g Grant) bool { return !stay[g.Profile] })
	in.Grants = fitting(append(kept, b.carried(want)...), a)
	in.Taken = named(was.Ours)
	if want.Trial {
		in.Spare = about.Spare
	}
	others, err := occupied(f, in.Taken)
	in.Taken = append(in.Taken, others...)
	return Render(in), err
}

// carried returns the leases that another backend has granted, as given by hand: an entry
// of a recency table cannot be dated. Those of `once` are not among them: such a rule lets
// in more than one connection. [Backend.noteCarried] writes them.
func (b *Backend) carried(want backend.Want) []Grant {
	var grants []Grant
	for _, s := range want.Carried {
		if s.State != backend.Open || want.Once(s) {
			continue
		}
		g := Grant{Profile: s.Profile, Holder: s.Address}
		if !s.Unlimited {
			g.Until = b.now().Add(s.Left).Round(time.Second)
		}
		grants = append(grants, g)
	}
	return grants
}

// noteCarried writes the leases of `once` that another backend has granted into their
// tables, for the profile's own time.
func (b *Backend) noteCarried(ctx context.Context, want backend.Want) error {
	once := slices.DeleteFunc(slices.Clone(want.Carried), func(s backend.Source) bool { return s.State != backend.Open || !want.Once(s) })
	if len(once) == 0 {
		return nil
	}
	is, err := b.records(ctx)
	if err != nil {
		return err
	}
	for _, s := range once {
		f := protocol.FamilyOf(s.Address.Addr())
		if is[f] == nil {
			continue
		}
		for _, p := range is[f].Profiles {
			if p.Name == s.Profile && p.Prefix(f) == s.Address.Bits() {
				if err := is.note(p, s.Address); err != nil {
					return err
				}
			}
		}
	}
	return nil
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
	target := map[protocol.Family]*Ruleset{}
	for f, saved := range snap {
		if target[f], err = b.rules(saved, f, want); err != nil {
			return nil, err
		}
	}
	return transactions(snap, target), nil
}

// transactions returns the texts that make target of what is there, in their order.
func transactions(was snapshot, target map[protocol.Family]*Ruleset) []backend.Text {
	var texts []backend.Text
	add := func(f protocol.Family, text string) {
		texts = append(texts, backend.Text{Family: f, Tool: strings.Join(tool{family: f}.restoreCommand(), " "), Text: text})
	}
	prime(was, target, add)
	for _, f := range protocol.Families() {
		if was[f] != nil {
			add(f, Transaction(was[f], target[f]))
		}
	}
	return texts
}

// Commit makes want what is installed: one transaction a family, after those that make many
// tables in their order. When one fails, what was done before is put back.
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
		if target[f], err = b.rules(saved, f, want); err != nil {
			return err
		}
		if err := forgetEnded(ctx, f, installedOrNone(saved), want); err != nil {
			return fmt.Errorf("forget what has ended: %w", err)
		}
	}
	if err := b.replace(ctx, snap, target); err != nil {
		return err
	}
	return b.noteCarried(ctx, want)
}

// replace commits the rulesets of both families, or none.
func (b *Backend) replace(ctx context.Context, was snapshot, target map[protocol.Family]*Ruleset) error {
	for _, f := range families() {
		if err := was[f].refuseForeign(f, target[f]); err != nil {
			return err
		}
	}
	if slices.ContainsFunc(families(), func(f protocol.Family) bool { return !target[f].Empty() }) {
		LoadModule(ctx) // or the first rule would bring it in, with small tables
	}
	texts := transactions(was, target)
	if slices.ContainsFunc(families(), func(f protocol.Family) bool { return dropsTable(was[f].Ours, target[f]) }) {
		// Rules could be put back, but not what was in the tables.
		for _, t := range texts {
			if err := b.tool(t.Family).try(ctx, t.Text); err != nil {
				return err
			}
		}
	}
	changed := map[protocol.Family]bool{}
	for _, t := range texts {
		err := b.tool(t.Family).commit(ctx, t.Text)
		if err == nil {
			changed[t.Family] = true
			continue
		}
		if strings.Count(t.Text, endOfTable) > 1 { // the first of them may be done
			changed[t.Family] = true
		}
		for f := range changed {
			if undo := b.restoreFamily(context.WithoutCancel(ctx), f, was[f].Ours); undo != nil {
				err = fmt.Errorf("%w; and %s could not be put back: %w", err, f, undo)
			}
		}
		return err
	}
	return nil
}

// dropsTable reports whether a recency table has no rule any more that names it.
func dropsTable(was, will *Ruleset) bool {
	stays := tablesOf(will)
	return slices.ContainsFunc(tablesOf(was), func(s Spare) bool {
		return !slices.ContainsFunc(stays, func(o Spare) bool { return o.name == s.name })
	})
}

func (b *Backend) restoreFamily(ctx context.Context, f protocol.Family, rules *Ruleset) error {
	now, err := b.tool(f).save(ctx)
	if err != nil {
		return err
	}
	return b.tool(f).commit(ctx, Transaction(now, rules))
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
			in.Unread = fmt.Errorf("%s: %w", f, err)
			in.Drift = append(in.Drift, in.Unread.Error())
			continue
		}
		records[f] = about
		for _, p := range about.Profiles {
			if !slices.ContainsFunc(in.Profiles, func(o *protocol.Profile) bool { return o.Name == p.Name }) {
				in.Profiles = append(in.Profiles, p)
			}
		}
		if len(about.Profiles) > 0 {
			in.Policy, in.Families = about.Policy, append(in.Families, f)
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
