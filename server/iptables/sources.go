package iptables

import (
	"net/netip"
	"slices"
	"time"

	"knockkit/protocol"
	"knockkit/server/backend"
)

// holders lists who holds a lease, is banned or has fallen. Where a record cannot be read
// nobody knows whose the tables are.
func (k *kernel) holders() []backend.Source {
	var all []backend.Source
	for _, m := range k.members {
		if m.unread != nil {
			continue
		}
		noted := k.noted(m)
		for _, p := range m.about.Profiles {
			if k.asks(p) {
				all = append(all, k.leases(m, p, noted)...)
			}
		}
		if ban := m.about.Policy.Ban; ban != nil {
			t := tables{d: dialect{m.family}}
			all = append(all, k.live(t.banned().name, ban.For, m.family.Bits(), backend.Source{State: backend.Banned})...)
			all = append(all, k.live(t.fallen().name, ban.For, m.family.Bits(), backend.Source{State: backend.Fallen})...)
		}
	}
	return all
}

// asks reports whether a profile's leases are asked for.
func (k *kernel) asks(p *protocol.Profile) bool {
	return k.depth.Profile == "" || k.depth.Profile == p.Name
}

// noted lists who is in each of the shared tables.
func (k *kernel) noted(m *member) map[string]map[netip.Addr]bool {
	noted := map[string]map[netip.Addr]bool{}
	for _, shared := range m.about.Holders {
		if noted[shared] == nil {
			noted[shared] = map[netip.Addr]bool{}
			for _, e := range k.recency[shared] {
				noted[shared][e.Addr] = true
			}
		}
	}
	return noted
}

// leases lists who holds a lease of a profile. The gate asks the shared table first: who was
// pushed out of that one is not let in.
func (k *kernel) leases(m *member, p *protocol.Profile, noted map[string]map[netip.Addr]bool) []backend.Source {
	steps := len(p.Sequence)
	open := backend.Source{Profile: p.Name, State: backend.Open, Step: steps, Steps: steps}
	all := k.live(m.about.Leases[p.Name], p.Lease, p.Prefix(m.family), open)
	if m.asksShared(p.Name) {
		shared := noted[m.about.Holders[p.Name]]
		all = slices.DeleteFunc(all, func(s backend.Source) bool { return !shared[s.Address.Addr()] })
	}
	for _, g := range alive(m.about.Grants, k.now) {
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
	return m.about.Holders[profile] != "" && !byHand
}

// live returns like once for each entry of a table that is at most limit old (0: of any age).
func (k *kernel) live(table string, limit time.Duration, bits int, like backend.Source) []backend.Source {
	var all []backend.Source
	for _, e := range k.recency[table] {
		if !k.clock.over(e, limit) {
			all = append(all, k.source(e, limit, bits, like))
		}
	}
	return all
}

func (k *kernel) source(e Entry, limit time.Duration, bits int, like backend.Source) backend.Source {
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
			for _, e := range k.recency[m.about.Known[protocol.PathText(s.Path)]] {
				if age := k.clock.Age(e.LastSeen); s.Within == 0 || age <= s.Within {
					all = append(all, backend.Position{Address: e.Addr, Users: s.Users, Age: age, Left: s.Within - age, Unlimited: s.Within == 0})
				}
			}
		}
	}
	return all
}
