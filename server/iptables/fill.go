package iptables

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"knockkit/server/backend"
)

// fill says how full each table is that holds anybody.
func (k *kernel) fill() []backend.Fill {
	if k.limit == 0 {
		return nil
	}
	var fills []backend.Fill
	for _, m := range k.members {
		var counts func(table string, e Entry) bool
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
				fill.Entries -= k.over(name, counts)
			}
			if fill.Entries > 0 {
				fills = append(fills, fill)
			}
		}
	}
	return fills
}

// counting returns what tells whether an entry of a family's tables still counts.
func (k *kernel) counting(m *member) func(table string, e Entry) bool {
	if m.automaton == nil {
		return func(string, Entry) bool { return true } // whose the tables are is not known
	}
	t := newTables(m.about.input(m.automaton))
	limits := t.limits(m.about.Policy)
	limits[t.progress().name] = m.automaton.Longest()
	if ban := m.about.Policy.Ban; ban != nil {
		limits[t.fallen().name] = ban.For
	}
	leases := map[string]map[netip.Addr]bool{} // by shared table: who has a lease that is noted there
	for _, p := range m.automaton.Profiles {
		limits[t.passed(p).name], limits[t.used(p).name] = passedFor, backend.HandshakeTime
		shared, ok := t.holders(p)
		if !ok {
			continue
		}
		if leases[shared.name] == nil {
			leases[shared.name] = map[netip.Addr]bool{}
		}
		for _, e := range k.recency[t.lease(p).name] {
			if !k.clock.over(e, p.Lease) {
				leases[shared.name][e.Addr] = true
			}
		}
	}
	return func(table string, e Entry) bool {
		if noted := leases[table]; noted != nil {
			return noted[e.Addr]
		}
		return !k.clock.over(e, limits[table])
	}
}

// over counts the entries that are over and older than any that is not: the kernel
// forgets the oldest first.
func (k *kernel) over(table string, counts func(string, Entry) bool) int {
	oldest := slices.Clone(k.recency[table])
	slices.SortFunc(oldest, func(x, y Entry) int { return cmp.Compare(k.clock.Age(y.LastSeen), k.clock.Age(x.LastSeen)) })
	if n := slices.IndexFunc(oldest, func(e Entry) bool { return counts(table, e) }); n >= 0 {
		return n
	}
	return len(oldest)
}

// ended lists what has ended by the limits that are installed in a family, of tables whose
// wanted limits are longer. An entry has no end of its own, and would count again: a lease
// that was over for weeks would open.
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
			if k.clock.over(e, was[name]) {
				gone = append(gone, write{name, "-", e.Addr})
			}
		}
	}
	return gone
}
