package iptables

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"knockkit/internal/kernel/backend"
	"knockkit/protocol"
)

// sources lists leases, bans and falls. Where a record cannot be read, nobody knows whose the tables
// are.
func (k *kernel) sources() []backend.Source {
	var all []backend.Source
	for _, m := range k.members {
		if m.unread != nil {
			continue
		}
		shared := k.inShared(m)
		for _, p := range m.about.Profiles {
			if k.asks(p) {
				all = append(all, k.leases(m, p, shared)...)
			}
		}
		if ban := m.about.Policy.Ban; ban != nil {
			t := tables{d: dialect{m.family}}
			all = append(all, k.unexpired(t.banned().name, ban.For, m.family.Bits(), backend.Source{State: backend.Banned})...)
			all = append(all, k.unexpired(t.fallen().name, ban.For, m.family.Bits(), backend.Source{State: backend.Fallen})...)
		}
	}
	return all
}

// asks reports whether a profile's leases are asked for.
func (k *kernel) asks(p *protocol.Profile) bool {
	return k.depth.Profile == "" || k.depth.Profile == p.Name
}

// inShared lists the addresses in each of the shared tables.
func (k *kernel) inShared(m *member) map[string]map[netip.Addr]bool {
	shared := map[string]map[netip.Addr]bool{}
	for _, table := range m.about.Shared {
		if shared[table] == nil {
			shared[table] = map[netip.Addr]bool{}
			for _, e := range k.recency[table] {
				shared[table][e.Addr] = true
			}
		}
	}
	return shared
}

// leases lists the leases of a profile. The gate asks the shared table first: an address that was
// pushed out of that one is not let in.
func (k *kernel) leases(m *member, p *protocol.Profile, shared map[string]map[netip.Addr]bool) []backend.Source {
	steps := len(p.Sequence)
	open := backend.Source{Profile: p.Name, State: backend.Open, Step: steps, Steps: steps}
	all := k.unexpired(m.about.Leases[p.Name], p.Lease, p.Prefix(m.family), open)
	if m.asksShared(p.Name) {
		shared := shared[m.about.Shared[p.Name]]
		all = slices.DeleteFunc(all, func(s backend.Source) bool { return !shared[s.Address.Addr()] })
	}
	open.ByHand = true
	for _, g := range current(m.about.Grants, k.now) {
		if g.Profile == p.Name {
			open.Address, open.Left, open.Unlimited = g.Holder, 0, g.Until.IsZero()
			if !open.Unlimited {
				open.Left = g.Until.Sub(k.now)
			}
			all = append(all, open)
		}
	}
	return all
}

// asksShared reports whether the profile's gate asks a shared table first.
func (m *member) asksShared(profile string) bool {
	byHand := slices.ContainsFunc(m.about.Grants, func(g grant) bool { return g.Profile == profile })
	return m.about.Shared[profile] != "" && !byHand
}

// unexpired returns like, once for each entry of a table that is at most limit old (0: of any age).
func (k *kernel) unexpired(table string, limit time.Duration, bits int, like backend.Source) []backend.Source {
	var all []backend.Source
	for _, e := range k.recency[table] {
		if !k.clock.expired(e, limit) {
			all = append(all, k.sourceOf(e, limit, bits, like))
		}
	}
	return all
}

func (k *kernel) sourceOf(e entry, limit time.Duration, bits int, like backend.Source) backend.Source {
	like.Address, like.Unlimited = netip.PrefixFrom(e.Addr, bits), limit == 0
	if limit > 0 {
		like.Left = limit - k.clock.Age(e.LastSeen)
	}
	return like
}

// knocking returns the sources in a position.
func (k *kernel) knocking() []backend.Position {
	var all []backend.Position
	for _, m := range k.members {
		if m.automaton == nil {
			continue
		}
		for i := range m.automaton.States {
			s := &m.automaton.States[i]
			for _, e := range k.recency[m.about.Positions[protocol.PathText(s.Path)]] {
				if age := k.clock.Age(e.LastSeen); s.Within == 0 || age <= s.Within {
					all = append(all, backend.Position{Address: e.Addr, Users: s.Users, Age: age, Left: s.Within - age, Unlimited: s.Within == 0})
				}
			}
		}
	}
	return all
}

// fill says how full each table is that has an entry.
func (k *kernel) fill() []backend.Fill {
	if k.limit == 0 {
		return nil
	}
	var fills []backend.Fill
	for _, m := range k.members {
		var counts func(table string, e entry) bool
		for _, name := range slices.Sorted(maps.Keys(k.recency)) {
			entries := k.recency[name]
			if len(entries) == 0 || !strings.HasSuffix(name, suffix(m.family)) || name == clockOf(m.family) {
				continue
			}
			fill := backend.Fill{Table: name, Limit: k.limit, Entries: len(entries)}
			if fill.NearlyFull() {
				if counts == nil {
					counts = k.counting(m)
				}
				fill.Entries -= k.expired(name, counts)
			}
			if fill.Entries > 0 {
				fills = append(fills, fill)
			}
		}
	}
	return fills
}

// counting returns a function that tells whether an entry of a family's tables still counts.
func (k *kernel) counting(m *member) func(table string, e entry) bool {
	if m.automaton == nil {
		return func(string, entry) bool { return true } // nobody knows whose the tables are
	}
	t := newTables(m.about.input(m.automaton))
	limits := t.limits(m.about.Policy)
	limits[t.progress().name] = m.automaton.Longest()
	if ban := m.about.Policy.Ban; ban != nil {
		limits[t.fallen().name] = ban.For
	}
	leases := map[string]map[netip.Addr]bool{} // by shared table: the holders of the leases that it is for
	for _, p := range m.automaton.Profiles {
		limits[t.passed(p).name], limits[t.used(p).name] = passedFor, backend.HandshakeTime
		shared, ok := t.sharedTable(p)
		if !ok {
			continue
		}
		if leases[shared.name] == nil {
			leases[shared.name] = map[netip.Addr]bool{}
		}
		for _, e := range k.recency[t.lease(p).name] {
			if !k.clock.expired(e, p.Lease) {
				leases[shared.name][e.Addr] = true
			}
		}
	}
	return func(table string, e entry) bool {
		if shared := leases[table]; shared != nil {
			return shared[e.Addr]
		}
		return !k.clock.expired(e, limits[table])
	}
}

// expired counts the entries that have expired and are older than any that has not: the kernel
// forgets the oldest first.
func (k *kernel) expired(table string, counts func(string, entry) bool) int {
	oldest := slices.Clone(k.recency[table])
	slices.SortFunc(oldest, func(x, y entry) int { return cmp.Compare(k.clock.Age(y.LastSeen), k.clock.Age(x.LastSeen)) })
	if n := slices.IndexFunc(oldest, func(e entry) bool { return counts(table, e) }); n >= 0 {
		return n
	}
	return len(oldest)
}

// ended lists the entries that have expired by the installed limits, in tables that get a longer
// limit. An entry has no end of its own and would count again: a lease that was over for weeks would
// open.
func (k *kernel) ended(m *member, will map[string]time.Duration) []write {
	if m.automaton == nil {
		return nil // nobody knows what the entries mean; status says so
	}
	was := newTables(m.about.input(m.automaton)).limits(m.about.Policy)
	var gone []write
	for _, name := range slices.Sorted(maps.Keys(was)) {
		limit, stays := will[name]
		if !stays || was[name] == 0 || limit != 0 && limit <= was[name] {
			continue
		}
		for _, e := range k.recency[name] {
			if k.clock.expired(e, was[name]) {
				gone = append(gone, write{name, "-", e.Addr})
			}
		}
	}
	return gone
}
