package nftables

import (
	"context"
	"fmt"
	"maps"
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
// are kept. Those of profiles that were taken away since come back as they were then.
func (b *Backend) PutBack(ctx context.Context, texts []backend.Text) error {
	was, err := b.list(ctx)
	if err != nil {
		return err
	}
	now := installedOrNone(was)
	for _, t := range texts {
		saved, then, err := parseSaved(t.Text)
		if err != nil {
			return err
		}
		want, err := backend.Compile(then.Profiles, then.Policy)
		if err != nil {
			return err
		}
		known := maps.Clone(then.Known) // no number has meant two positions
		maps.Copy(known, now.Known)
		given := held(was, now.Given)
		maps.Copy(given, held(saved, then.Given))
		rules := Render(Input{want, known, max(then.Next, now.Next), given})
		if err := b.commit(ctx, transactions(was, rules, append(rewriteLeases(was, now.Profiles, want), lost(was, saved)...))); err != nil {
			return err
		}
	}
	return nil
}

// lost returns the elements of saved sets that are not there any more.
func lost(was, saved *Listing) []string {
	var all []string
	for _, s := range saved.Sets {
		if s.Fixed || was.Set(s.Name) != nil {
			continue
		}
		for _, e := range s.Elements {
			if e.Timeout > 0 && e.Expires < time.Second {
				continue // it is about to end
			}
			text := e.Key + timeout(e.Timeout)
			if e.Timeout > 0 {
				text += " expires " + protocol.FormatDuration(e.Expires)
			}
			if s.Map {
				text += " : " + e.Data
			}
			all = append(all, element("add", s.Name, text))
		}
	}
	return all
}
