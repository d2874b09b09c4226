package iptables

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"

	"knockkit/internal/kernel/backend"
	"knockkit/protocol"
)

// savedFamily is what is saved of one family: its rules, and the holders of leases.
type savedFamily struct {
	Chains []*chain
	Leases map[string][]netip.Addr // by table
}

// Save returns our installed rules, and the holders of leases, as one line of JSON.
func (k *kernel) Save() (string, error) {
	all := map[string]savedFamily{}
	for _, m := range k.members {
		s := savedFamily{m.saved.ours.Chains, map[string][]netip.Addr{}}
		for _, table := range m.about.Leases {
			for _, e := range k.recency[table] {
				s.Leases[table] = append(s.Leases[table], e.Addr)
			}
		}
		all[m.family.String()] = s
	}
	return backend.JSON(all), nil
}

// PutBack installs the rules of an earlier Save. Leases that were given since stay, unless they cover
// less than these rules open; those that were ended do not come back.
func (k *kernel) PutBack(text string, ended []backend.Ended) (backend.Plan, error) {
	var all map[string]savedFamily
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		return nil, fmt.Errorf("what was saved: %w", err)
	}
	target := map[protocol.Family]*ruleset{}
	var before, after []write
	for _, m := range k.members {
		then := all[m.family.String()]
		rules := &ruleset{Family: m.family}
		for _, c := range then.Chains {
			rules.append(c.Name).Rules = c.Rules
		}
		target[m.family] = rules
		if b := k.comingBack(m, then, rules, ended); b != nil {
			b.changeGrants(rules)
			before, after = append(before, b.before...), append(after, b.after...)
		}
	}
	p, err := k.replace(target)
	if err != nil {
		return nil, err
	}
	p.before, p.after = before, after
	return p, nil
}

// comingBack is the leases of one family that rules which come back will have.
type comingBack struct {
	was           *about // the record of these rules
	grants        []grant
	before, after []write // entries of tables, before the rules are there and after
}

// comingBack compares the leases of saved rules with those of today, profile by profile. A profile
// whose leases were none meanwhile gets back those that nobody has ended; of all others the kernel
// has today's. nil: nobody knows what the leases were for.
func (k *kernel) comingBack(m *member, then savedFamily, rules *ruleset, ended []backend.Ended) *comingBack {
	was, err := readAbout(m.family, rules.record(), parsedProfiles{})
	if err != nil {
		return nil
	}
	b := &comingBack{was: was}
	shared := k.inShared(m)
	for _, p := range was.Profiles {
		forgotten := func(addr netip.Addr) bool {
			return backend.IsEnded(ended, p.Name, netip.PrefixFrom(addr, p.Prefix(m.family)))
		}
		then := slices.DeleteFunc(slices.Clone(then.Leases[was.Leases[p.Name]]), forgotten)
		granted := slices.DeleteFunc(grantsOf(current(was.Grants, k.now), p), func(g grant) bool { return backend.IsEnded(ended, p.Name, g.Holder) })
		now, table := m.about.profile(p.Name), was.Leases[p.Name]
		covers := now != nil && backend.LeasesEnd(now, p, m.family) == "" // today's leases are leases of the saved rules
		switch {
		case now != nil && table == m.about.Leases[p.Name]: // and those were leases all the time
			granted = grantsOf(current(m.about.Grants, k.now), p)
			if !covers {
				granted = slices.DeleteFunc(granted, func(g grant) bool { return !slices.Contains(was.Grants, g) })
			}
			for _, e := range k.recency[table] {
				over := k.clock.expired(e, now.Lease) && forgotten(e.Addr) // and would count again, by a longer `lease`
				if over || !covers && !slices.Contains(then, e.Addr) {
					b.before = append(b.before, write{table, "-", e.Addr})
				}
			}
		default:
			for _, e := range k.recency[table] {
				if forgotten(e.Addr) {
					b.before = append(b.before, write{table, "-", e.Addr})
				}
			}
			if !covers {
				break
			}
			for _, s := range k.leases(m, now, shared) {
				if p.Once {
					b.after = append(b.after, leaseWrites(table, was.Shared[p.Name], s.Address.Addr())...)
					continue
				}
				g := k.granted(s)
				granted = append(slices.DeleteFunc(granted, func(o grant) bool { return o.to(p.Name, s.Address) }), g)
			}
		}
		b.grants = append(b.grants, granted...)
	}
	t := tables{d: dialect{m.family}}
	for _, table := range []string{t.banned().name, t.fallen().name} {
		for _, e := range k.recency[table] {
			if backend.IsEnded(ended, "", netip.PrefixFrom(e.Addr, e.Addr.BitLen())) {
				b.before = append(b.before, write{table, "-", e.Addr})
			}
		}
	}
	return b
}

func grantsOf(all []grant, p *protocol.Profile) []grant {
	return slices.DeleteFunc(slices.Clone(all), func(g grant) bool { return g.Profile != p.Name })
}

// changeGrants puts the leases given by hand into saved rules. Chains that do not differ by them stay
// as they were saved, drifted or not.
func (b *comingBack) changeGrants(rules *ruleset) {
	a, err := protocol.Compile(b.was.Profiles, rules.Family)
	if err != nil {
		return // what the rules mean is not known
	}
	in := b.was.input(a)
	with := render(in)
	in.Grants = fitting(b.grants, a)
	slices.SortStableFunc(in.Grants, func(x, y grant) int { return b.order(x) - b.order(y) })
	if slices.Equal(in.Grants, b.was.Grants) {
		return
	}
	for _, c := range render(in).Chains {
		old, saved := with.chain(c.Name), rules.chain(c.Name)
		if saved != nil && (old == nil || !slices.Equal(old.Rules, c.Rules)) {
			saved.Rules = c.Rules
		}
	}
}

// order is the place of a lease in the record: new ones come last.
func (b *comingBack) order(g grant) int {
	if i := slices.Index(b.was.Grants, g); i >= 0 {
		return i
	}
	return len(b.was.Grants)
}
