package nftables

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"knockkit/protocol"
	"knockkit/server/backend"
)

// Save returns what is installed as text that [Backend.PutBack] takes: the listing of
// the table, "" where there is none.
func (b *Backend) Save(ctx context.Context) ([]backend.Text, error) {
	text, err := b.listText(ctx)
	if err != nil {
		return nil, err
	}
	if _, _, err := parseSaved(text); err != nil {
		return nil, fmt.Errorf("what is installed could not be put back: %w", err)
	}
	return []backend.Text{{Family: protocol.Both, Text: text}}, nil
}

func parseSaved(text string) (*Listing, *Installed, error) {
	l, err := ParseListing(text)
	if err != nil {
		return nil, nil, err
	}
	about, err := ReadAbout(l)
	return l, about, err
}

// PutBack makes the profiles and settings of an earlier Save what is installed, by a
// commit like any other: gates that both have stay shut meanwhile, positions and leases
// are kept. Those that came to an end with a profile that was taken away since, or with
// a shorter lease, come back as they were then.
func (b *Backend) PutBack(ctx context.Context, texts []backend.Text) error {
	for _, t := range texts {
		saved, then, err := parseSaved(t.Text)
		if err != nil {
			return err
		}
		want, err := backend.Compile(then.Profiles, then.Policy)
		if err != nil {
			return err
		}
		if err := b.change(ctx, func(was *Listing) ([]string, error) {
			now := installedOrNone(was)
			known := maps.Clone(then.Known) // no number has meant two positions
			maps.Copy(known, now.Known)
			v := versions(was, now, want)
			given := held(was, now.Given)
			for name := range held(saved, then.Given) {
				given[v.rename(name)] = true
			}
			rules := Render(Input{Want: want, Known: known, Next: max(then.Next, now.Next), Given: given, Versions: v})
			return transactions(was, rules, append(rewriteLeases(was, now.Profiles, want, v), lost(was, saved, now, then, v)...)), nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// lost returns the elements of saved sets that are not there any more: of sets that have
// gone, and of leases whose time was changed, or that were none of the profile meanwhile.
func lost(was, saved *Listing, now, then *Installed, v Versions) []string {
	changed := map[string]bool{}
	for _, p := range then.Profiles {
		same := slices.ContainsFunc(now.Profiles, func(q *protocol.Profile) bool { return p.Name == q.Name && p.Lease == q.Lease })
		if !same && !p.Once { // what was used up stays so
			changed[then.Versions.lease(p, protocol.IPv4)], changed[then.Versions.lease(p, protocol.IPv6)] = true, true
		}
	}
	var all []string
	for _, s := range saved.Sets {
		name := v.rename(s.Name)
		is := was.Set(name)
		if s.Fixed || is != nil && name == s.Name && !changed[s.Name] {
			continue
		}
		for _, e := range s.Elements {
			still := is != nil && slices.ContainsFunc(is.Elements, func(o Element) bool { return o.Key == e.Key })
			if still || e.Timeout > 0 && e.Expires < time.Second { // there, or about to end
				continue
			}
			text := e.Key + times(e.Timeout, e.Expires)
			if s.Map {
				text += " : " + e.Data
			}
			all = append(all, element("add", name, text))
		}
	}
	return all
}
