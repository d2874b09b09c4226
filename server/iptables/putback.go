package iptables

import (
	"context"
	"slices"
	"strings"

	"knockkit/protocol"
	"knockkit/server/backend"
)

// heldLine begins a line of a saved text that says who held a lease: a comment to
// iptables-restore.
const heldLine = "# held "

// Save returns the installed rules of ours, and who holds leases, as text that
// [Backend.PutBack] takes.
func (b *Backend) Save(ctx context.Context) ([]backend.Text, error) {
	snap, err := b.read(ctx)
	if err != nil {
		return nil, err
	}
	var texts []backend.Text
	for _, f := range families() {
		var held strings.Builder
		for _, table := range installedOrNone(snap[f]).Leases {
			entries, err := readTable(table)
			if err != nil {
				return nil, err
			}
			for _, e := range entries {
				held.WriteString(heldLine + table + " " + e.Addr.String() + "\n")
			}
		}
		texts = append(texts, backend.Text{Family: f, Text: held.String() + snap[f].Ours.Text()})
	}
	return texts, nil
}

// PutBack makes the rules of an earlier Save what is installed. Leases that were given
// since, for less than these rules open, end before.
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
		if err := endSince(snap[t.Family], saved, t); err != nil {
			return err
		}
	}
	return b.replace(ctx, snap, target)
}

// endSince ends the leases that nobody held when the text was saved, in tables that both
// have though the leases are none by the saved rules.
func endSince(now, saved *Saved, text backend.Text) error {
	is, then := installedOrNone(now), installedOrNone(saved)
	for _, p := range then.Profiles {
		i := slices.IndexFunc(is.Profiles, func(o *protocol.Profile) bool { return o.Name == p.Name })
		table := then.Leases[p.Name]
		if i < 0 || table != is.Leases[p.Name] || backend.Beyond(is.Profiles[i], p, text.Family) == "" {
			continue
		}
		entries, err := readTable(table)
		if err != nil {
			return err
		}
		held := map[string]bool{}
		for _, line := range strings.Split(text.Text, "\n") {
			held[line] = true
		}
		for _, e := range entries {
			if held[heldLine+table+" "+e.Addr.String()] {
				continue
			}
			if err := writeTable(table, "-"+e.Addr.String()); err != nil {
				return err
			}
		}
	}
	return nil
}
