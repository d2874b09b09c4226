//go:build linux

package main

import (
	"fmt"
	"net/netip"
	"time"

	"knockkit/bench/stage"
	"knockkit/bench/stat"
	"knockkit/protocol"
)

// counts are the numbers of profiles that are compared.
func counts() []int { return []int{1, 10, 100, 1000} }

// probe is one of the packets that are compared.
type probe struct {
	Kind   stage.Kind
	Family protocol.Family
}

// probes lists what rules are measured with: over IPv6 too, where they are for it.
func probes(rules stage.Rules) []probe {
	var all []probe
	for _, f := range protocol.Families() {
		for _, kind := range stage.Kinds() {
			if f == protocol.IPv4 || rules.IPv6 {
				all = append(all, probe{kind, f})
			}
		}
	}
	return all
}

// packetCost says what a stranger's packet costs.
type packetCost struct {
	Rules    stage.Rules
	Profiles int                    // 0 for rules that have none
	NS       map[probe]*stat.Sample // nanoseconds a packet

	site   *stage.Site
	values map[probe][]float64 // of each burst
}

// packets measures what a packet from a stranger costs, rules by rules.
func (b *bench) packets() ([]*packetCost, error) {
	burst := stage.Burst{WarmUp: 500, Limit: 100 * time.Millisecond}
	size := b.rounds(10_000, 2_000)
	// A burst comes from other sources than the two before it, more than what full
	// recency tables of 100 profiles remember: so a first knock is one.
	const parts = 3
	profiles, err := stage.Profiles(1000, 10*time.Second)
	if err != nil {
		return nil, err
	}
	var costs []*packetCost
	for _, rules := range stage.AllRules() {
		for _, n := range counts() {
			if n > 1 && !rules.Profiles || n > max(1, rules.Most) {
				continue
			}
			s, err := stage.NewSite(fmt.Sprintf("%s, %d profiles", rules.Name, n))
			if err != nil {
				return nil, err
			}
			defer s.Close()
			if err := rules.Apply(b, s.Host, profiles[:n]); err != nil {
				return nil, fmt.Errorf("%s: %w", s.Host, err)
			}
			if !rules.Profiles {
				n = 0
			}
			costs = append(costs, &packetCost{Rules: rules, Profiles: n, NS: map[probe]*stat.Sample{}, site: s, values: map[probe][]float64{}})
		}
	}
	// Every host has the same addresses, so packets are made once for each number of
	// profiles.
	type packetsOf struct {
		probe
		profiles int
	}
	packets := map[packetsOf][][]byte{}
	to := map[protocol.Family]netip.Addr{protocol.IPv4: costs[0].site.Host.Addr4, protocol.IPv6: costs[0].site.Host.Addr6}
	for _, c := range costs {
		for _, p := range probes(c.Rules) {
			if of := (packetsOf{p, max(1, c.Profiles)}); packets[of] == nil {
				packets[of] = stage.Packets(p.Kind, profiles[:of.profiles], to[p.Family], parts*size)
			}
		}
	}
	err = b.turns(b.rounds(25, 3), len(costs), func(round, i int) error {
		c, from := costs[i], round%parts*size
		for _, p := range probes(c.Rules) {
			if err := c.Rules.Refresh(b, c.site.Host); err != nil {
				return err
			}
			ns, err := burst.Inject(c.site.Wire, packets[packetsOf{p, max(1, c.Profiles)}][from:from+size])
			if err != nil {
				return fmt.Errorf("%s: %w", c.site.Host, err)
			}
			c.values[p] = append(c.values[p], ns)
		}
		return nil
	})
	for _, c := range costs {
		for p, ns := range c.values {
			sample := stat.Of(ns...)
			c.NS[p] = &sample
		}
	}
	return costs, err
}

// costOf returns a median in nanoseconds; ok is false where it was not measured.
func costOf(costs []*packetCost, rules string, profiles int, p probe) (ns float64, ok bool) {
	for _, c := range costs {
		if c.Rules.Name == rules && c.Profiles == profiles && c.NS[p] != nil {
			return c.NS[p].Median, true
		}
	}
	return 0, false
}
