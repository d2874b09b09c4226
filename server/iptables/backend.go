package iptables

import (
	"cmp"
	"context"
	"errors"
	"fmt"
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
// still known; what is lost is which table held which position, and leases given by hand.
func installedOrNone(was *Saved) *Installed {
	about, err := ReadAbout(was.Ours)
	if err != nil {
		return &Installed{Holders: ReadHolders(was.Ours)}
	}
	return about
}

// rules renders one family, keeping the names and the hand-given leases that are there.
func (b *Backend) rules(about *Installed, f protocol.Family, want backend.Want) *Ruleset {
	kept := append(alive(about.Grants, b.now()), b.carried(want)...)
	in := Input{Automaton: want.Of(f), Policy: want.Policy, Known: about.Known, Holders: about.Holders, Grants: fitting(kept, want.Of(f))}
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
	target := map[protocol.Family]*Ruleset{}
	for f, saved := range snap {
		target[f] = b.rules(installedOrNone(saved), f, want)
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
