package iptables

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"knockkit/internal/kernel/backend"
	"knockkit/protocol"
)

// kernel is a moment of the kernel, as deep as was asked for. All that follows from it is pure.
type kernel struct {
	depth   backend.Depth
	now     time.Time
	clock   clock // HZ is 0 where no table has an entry whose age counts
	rates   *rates
	limit   int                // addresses a recency table; 0: not known
	recency map[string][]entry // the tables that were read, empty ones too
	members []*member
	saved   []backend.Saved
}

// member is what is installed in one family.
type member struct {
	family    protocol.Family
	about     *about              // as much of it as can be read
	unread    error               // why not all of it
	saved     *saved              // nil: the rules were not read
	automaton *protocol.Automaton // of the record; nil where it was not compiled, or does not
	drifted   []string
	mixed     error // the other flavour of iptables holds rules of ours
}

// newMember reads the record, from the rules of KNOCKD-ABOUT, and compares all rules with it where
// they were read.
func newMember(f protocol.Family, d backend.Depth, rules []string, s *saved, parsed parsedProfiles) *member {
	m := &member{family: f, saved: s}
	if m.about, m.unread = readAbout(f, rules, parsed); m.unread != nil {
		m.unread = fmt.Errorf("%s: %w", f, m.unread)
		m.drifted = []string{m.unread.Error()}
		return m
	}
	if s != nil || readsAll(d) {
		// Profiles that do not compile were put there by somebody else: drift says so.
		m.automaton, _ = protocol.Compile(m.about.Profiles, f)
	}
	if s != nil {
		m.drifted = m.drift()
	}
	return m
}

// member returns what is installed in the family of an address, or nil.
func (k *kernel) member(p netip.Prefix) *member {
	i := slices.IndexFunc(k.members, func(m *member) bool { return m.family == protocol.FamilyOf(p.Addr()) })
	if i < 0 {
		return nil
	}
	return k.members[i]
}

// reading returns what the commands are told.
func (k *kernel) reading() *backend.Reading {
	r := &backend.Reading{Installed: k.installed(), Saved: k.saved, Positions: -1, Planner: k}
	if !k.depth.Leases {
		return r
	}
	r.Sources = k.sources()
	if readsAll(k.depth) {
		all := k.knocking()
		var list []backend.Source
		list, r.Knocking = backend.ListPositions(all, k.depth.Positions)
		r.Sources, r.Positions = append(r.Sources, list...), len(all)
	}
	if k.depth.Profile == "" {
		r.Fill = k.fill()
	}
	backend.Sort(r.Sources)
	return r
}

// installed says what is installed, and where it has drifted.
func (k *kernel) installed() backend.Installed {
	var in backend.Installed
	all := map[string]*protocol.Profile{}
	for _, m := range k.members {
		if m.saved != nil {
			for _, line := range m.saved.foreign {
				in.Foreign = append(in.Foreign, m.says("%s", line))
			}
		}
		in.Drift = append(in.Drift, m.drifted...)
		if m.unread != nil {
			in.Unread = m.unread
			continue
		}
		for _, p := range m.about.Profiles {
			if all[p.Name] == nil {
				all[p.Name] = p
			}
		}
		if len(m.about.Profiles) > 0 {
			in.Policy, in.Families = m.about.Policy, append(in.Families, m.family)
		}
	}
	in.Profiles = slices.SortedFunc(maps.Values(all), protocol.ByName)
	for _, m := range k.members {
		if m.unread == nil && m.saved != nil && (m.saved.ours.empty() || len(m.about.Profiles) > 0) {
			in.Drift = append(in.Drift, m.missing(in.Profiles)...)
		}
	}
	return in
}
