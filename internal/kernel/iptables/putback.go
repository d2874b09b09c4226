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

// PutBack installs the rules of an earlier Save. Leases that were given since, and that cover less
// than these rules open, end before.
func (k *kernel) PutBack(text string) (backend.Plan, error) {
	var all map[string]savedFamily
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		return nil, fmt.Errorf("what was saved: %w", err)
	}
	target := map[protocol.Family]*ruleset{}
	var since []write
	for _, m := range k.members {
		then := all[m.family.String()]
		rules := &ruleset{Family: m.family}
		for _, c := range then.Chains {
			rules.append(c.Name).Rules = c.Rules
		}
		target[m.family] = rules
		since = append(since, k.since(m, then, rules)...)
	}
	p, err := k.replace(target)
	if err != nil {
		return nil, err
	}
	p.before = since
	return p, nil
}

// since ends the leases that were given after the Save, in tables that both rulesets have although
// the leases do not cover what the saved rules open.
func (k *kernel) since(m *member, then savedFamily, rules *ruleset) []write {
	was, err := readAbout(m.family, rules.record(), parsedProfiles{})
	if err != nil {
		return nil // what the leases were for is not known
	}
	var gone []write
	for _, p := range was.Profiles {
		now, table := m.about.profile(p.Name), was.Leases[p.Name]
		if now == nil || table != m.about.Leases[p.Name] || backend.LeasesEnd(now, p, m.family) == "" {
			continue
		}
		for _, e := range k.recency[table] {
			if !slices.Contains(then.Leases[table], e.Addr) {
				gone = append(gone, write{table, "-", e.Addr})
			}
		}
	}
	return gone
}
