//go:build linux

package main

import (
	"fmt"
	"time"

	"knockkit/bench/stage"
	"knockkit/bench/stat"
)

// counts are the numbers of profiles that are compared.
func counts() []int { return []int{1, 10, 100, 1000} }

// packetCost says what a stranger's packet costs.
type packetCost struct {
	Rules    stage.Rules
	Profiles int                         // 0 for rules that have none
	NS       map[stage.Kind]*stat.Sample // nanoseconds a packet
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
	var sites []*stage.Site
	defer func() {
		for _, s := range sites {
			s.Close()
		}
	}()
	for _, rules := range stage.AllRules() {
		for _, n := range counts() {
			if n > 1 && !rules.Profiles || n > max(1, rules.Most) {
				continue
			}
			s, err := stage.NewSite(fmt.Sprintf("%s, %d profiles", rules.Name, n))
			if err != nil {
				return nil, err
			}
			sites = append(sites, s)
			if err := rules.Apply(b, s.Host, profiles[:n]); err != nil {
				return nil, fmt.Errorf("%s: %w", s.Host, err)
			}
			if !rules.Profiles {
				n = 0
			}
			costs = append(costs, &packetCost{Rules: rules, Profiles: n, NS: map[stage.Kind]*stat.Sample{}})
		}
	}
	// Every host has the same address, so packets are made once for each number of
	// profiles.
	packets := map[stage.Kind]map[int][][]byte{}
	for _, kind := range stage.Kinds() {
		packets[kind] = map[int][][]byte{}
		for _, n := range counts() {
			packets[kind][n] = stage.Packets(kind, profiles[:n], sites[0].Host.Addr4, parts*size)
		}
	}
	values := map[stage.Kind][][]float64{}
	for _, kind := range stage.Kinds() {
		values[kind] = make([][]float64, len(costs))
	}
	err = b.turns(b.rounds(25, 3), len(costs), func(round, i int) error {
		c, s := costs[i], sites[i]
		from := round % parts * size
		for _, kind := range stage.Kinds() {
			if err := c.Rules.Refresh(b, s.Host); err != nil {
				return err
			}
			ns, err := burst.Inject(s.Wire, packets[kind][max(1, c.Profiles)][from:from+size])
			if err != nil {
				return fmt.Errorf("%s: %w", s.Host, err)
			}
			values[kind][i] = append(values[kind][i], ns)
		}
		return nil
	})
	for i, c := range costs {
		for _, kind := range stage.Kinds() {
			sample := stat.Of(values[kind][i]...)
			c.NS[kind] = &sample
		}
	}
	return costs, err
}

// costOf returns a median in nanoseconds; ok is false where it was not measured.
func costOf(costs []*packetCost, rules string, profiles int, kind stage.Kind) (ns float64, ok bool) {
	for _, c := range costs {
		if c.Rules.Name == rules && c.Profiles == profiles {
			return c.NS[kind].Median, true
		}
	}
	return 0, false
}
