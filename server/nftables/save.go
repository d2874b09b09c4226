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
			given := held(was, now.Given)
			maps.Copy(given, held(saved, then.Given))
			rules := Render(Input{want, known, max(then.Next, now.Next), given})
			return transactions(was, rules, append(rewriteLeases(was, now.Profiles, want), lost(was, saved, now, then)...)), nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// lost returns the elements of saved sets that are not there any more: of sets that have
// gone, and of leases whose time was changed.
func lost(was, saved *Listing, now, then *Installed) []string {
	changed := map[string]bool{}
	for _, p := range then.Profiles {
		same := slices.ContainsFunc(now.Profiles, func(q *protocol.Profile) bool { return p.Name == q.Name && p.Lease == q.Lease })
		if !same && !p.Once { // what was used up stays so
			changed[leaseSet(p, protocol.IPv4)], changed[leaseSet(p, protocol.IPv6)] = true, true
		}
	}
	var all []string
	for _, s := range saved.Sets {
		is := was.Set(s.Name)
		if s.Fixed || is != nil && !changed[s.Name] {
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
			all = append(all, element("add", s.Name, text))
		}
	}
	return all
}
