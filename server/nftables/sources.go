package nftables

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"knockkit/protocol"
	"knockkit/server/backend"
)

// Sources lists who is in a position, holds a lease, or is banned, by address.
func (b *Backend) Sources(ctx context.Context) ([]backend.Source, error) {
	l, err := b.list(ctx)
	if err != nil || !l.Exists {
		return nil, err
	}
	about, err := ReadAbout(l)
	if err != nil {
		return nil, err
	}
	var all []backend.Source
	for _, f := range protocol.Families() {
		found, err := sourcesOf(l, about, f)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	backend.Sort(all)
	return all, nil
}

func sourcesOf(l *Listing, about *Installed, f protocol.Family) ([]backend.Source, error) {
	a, err := protocol.Compile(about.Profiles, f)
	if err != nil {
		return nil, err
	}
	var all []backend.Source
	add := func(set string, bits int, each func(Element) []backend.Source) error {
		s := l.Set(set)
		if s == nil {
			return nil
		}
		for _, e := range s.Elements {
			addr, err := netip.ParseAddr(e.Key)
			if err != nil {
				return fmt.Errorf("%s: %w", set, err)
			}
			for _, src := range each(e) {
				src.Address = netip.PrefixFrom(addr, bits)
				src.Left, src.Unlimited = e.Expires, e.Timeout == 0
				all = append(all, src)
			}
		}
		return nil
	}
	byNumber := map[string][]protocol.Use{}
	for i := range a.States {
		if i != protocol.Root && a.Stays(i) {
			if n, ok := about.Known[protocol.PathText(a.States[i].Path)]; ok {
				byNumber[n.String()] = a.States[i].Users
			}
		}
	}
	err = add("position"+digit(f), f.Bits(), func(e Element) []backend.Source {
		var found []backend.Source
		for _, u := range byNumber[e.Data] {
			if steps := len(u.Profile.Sequence); u.Step < steps { // a sequence that ends here is a lease, not a position
				found = append(found, backend.Source{Profile: u.Profile.Name, State: backend.Knocking, Step: u.Step, Steps: steps})
			}
		}
		return found
	})
	sets := leaseSets(l)
	for _, p := range a.Profiles {
		for _, set := range sets[holders(p, f)] {
			if err == nil && set.version == max(about.Versions[set.holders], 1) {
				err = add(set.String(), set.bits, func(Element) []backend.Source {
					return []backend.Source{{Profile: p.Name, State: backend.Open, Step: len(p.Sequence), Steps: len(p.Sequence)}}
				})
			}
		}
	}
	if err == nil {
		err = add("banned"+digit(f), f.Bits(), func(Element) []backend.Source { return []backend.Source{{State: backend.Banned}} })
	}
	return all, err
}

// leaseSets lists the sets of leases, by whose they are.
func leaseSets(l *Listing) map[string][]leaseSet {
	all := map[string][]leaseSet{}
	for _, s := range l.Sets {
		if set, ok := parseLeaseSet(s.Name); ok {
			all[set.holders] = append(all[set.holders], set)
		}
	}
	return all
}

// Fill says how full each set is that holds anybody.
func (b *Backend) Fill(ctx context.Context) ([]backend.Fill, error) {
	l, err := b.list(ctx)
	if err != nil {
		return nil, err
	}
	var fills []backend.Fill
	for _, s := range l.Sets {
		if !s.Fixed && len(s.Elements) > 0 {
			limit := setSize
			if strings.HasPrefix(s.Name, "position") {
				limit = positionsSize
			}
			fills = append(fills, backend.Fill{Table: s.Name, Entries: len(s.Elements), Limit: limit})
		}
	}
	return fills, nil
}
