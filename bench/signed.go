//go:build linux

package main

import (
	"fmt"
	"slices"
	"time"

	"knockkit/bench/stage"
	"knockkit/bench/stat"
	"knockkit/protocol"
)

// signedCase is how many signed profiles there are, and how many keys each has.
type signedCase struct{ Profiles, Keys int }

func signedCases() []signedCase { return []signedCase{{0, 0}, {1, 1}, {100, 1}, {100, 100}} }

func (c signedCase) String() string {
	switch {
	case c.Profiles == 0:
		return "none"
	case c.Keys == 1:
		return fmt.Sprint(c.Profiles)
	}
	return fmt.Sprintf("%d, %d keys each", c.Profiles, c.Keys)
}

// The strangers' packets in the carriers.
const (
	strangersPing     = "a ping"
	strangersDatagram = "a datagram to a carrier's port"
)

// signedCost says what a stranger's packet in a carrier costs.
type signedCost struct {
	Packet string
	signedCase
	NS stat.Sample // nanoseconds a packet

	site   *stage.Site
	values []float64 // of each burst
}

// plainBeside is how many profiles with sequences are installed beside the signed ones, and without them.
const plainBeside = 10

// signed measures what strangers' packets cost, and what it takes to load keys.
func (b *bench) signed() ([]*signedCost, []*loadingCost, error) {
	costs, err := b.signedPackets()
	if err != nil {
		return nil, nil, err
	}
	loading, err := b.loading()
	return costs, loading, err
}

func (b *bench) signedPackets() ([]*signedCost, error) {
	burst := stage.Burst{WarmUp: 500, Limit: 100 * time.Millisecond}
	size := b.rounds(10_000, 2_000)
	const parts = 3 // a burst comes from other sources than the two before it, as in packets
	plain, err := stage.Profiles(plainBeside, 10*time.Second)
	if err != nil {
		return nil, err
	}
	var costs []*signedCost
	var packets [][][]byte
	for _, what := range []string{strangersPing, strangersDatagram} {
		for _, c := range signedCases() {
			cost := &signedCost{Packet: what, signedCase: c}
			if cost.site, err = stage.NewSite(fmt.Sprintf("%s, signed profiles: %s", what, c)); err != nil {
				return nil, err
			}
			defer cost.site.Close()
			carriers, err := b.installSigned(cost, plain)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", cost.site.Host, err)
			}
			costs = append(costs, cost)
			packets = append(packets, stage.RandomTokens(carriers, cost.site.Host.Addr4, parts*size))
		}
	}
	err = b.turns(b.rounds(25, 3), len(costs), func(round, i int) error {
		from := round % parts * size
		ns, err := burst.Inject(costs[i].site.Wire, packets[i][from:from+size])
		costs[i].values = append(costs[i].values, ns)
		return err
	})
	for _, c := range costs {
		c.NS = stat.Of(c.values...)
	}
	return costs, err
}

// installSigned installs the profiles of a case and loads their keys. It returns the carriers to which
// packets are sent: without signed profiles, the one that a first profile would have.
func (b *bench) installSigned(c *signedCost, profiles []*protocol.Profile) (carriers []protocol.Knock, err error) {
	carrierOf := func(i int) protocol.Knock {
		if c.Packet == strangersPing {
			return stage.Ping
		}
		return stage.Datagram(i)
	}
	profiles = slices.Clone(profiles)
	var keys []protocol.Key
	for i := range c.Profiles {
		p, err := stage.Signed(fmt.Sprintf("s%04d", i), carrierOf(i), uint16(2000+i))
		if err != nil {
			return nil, err
		}
		profiles, keys = append(profiles, p), append(keys, stage.Keys(p, c.Keys)...)
		carriers = append(carriers, carrierOf(i))
	}
	if err := stage.ApplyOurs(b, c.site.Host, "nftables", profiles); err != nil || c.Profiles == 0 {
		return []protocol.Knock{carrierOf(0)}, err
	}
	return carriers, stage.Load(b, c.site.Host, keys)
}

// signedCostOf returns a median in nanoseconds, 0 where it was not measured.
func (p *page) signedCostOf(packet string, of signedCase) float64 {
	for _, c := range p.Signed {
		if c.Packet == packet && c.signedCase == of {
			return c.NS.Median
		}
	}
	return 0
}

// SignedTable shows what a stranger's packet in a carrier costs, by number of signed profiles.
func (p *page) SignedTable() string {
	header := []string{"signed profiles"}
	for _, c := range signedCases() {
		header = append(header, c.String())
	}
	header = append(header, "1 to none", "100 to 1")
	var rows [][]string
	for _, packet := range []string{strangersPing, strangersDatagram} {
		cells := []string{packet}
		for _, c := range signedCases() {
			cells = append(cells, thousands(int(p.signedCostOf(packet, c))))
		}
		none, one, many := p.signedCostOf(packet, signedCase{}), p.signedCostOf(packet, signedCase{1, 1}), p.signedCostOf(packet, signedCase{100, 1})
		rows = append(rows, append(cells, fmt.Sprintf("%.2f", one/none), fmt.Sprintf("%.2f", many/one)))
	}
	return markdown(header, rows)
}

// SignedRounds is how often each of these costs was measured.
func (p *page) SignedRounds() int { return p.Signed[0].NS.Count }

// PlainBeside is for the template.
func (p *page) PlainBeside() int { return plainBeside }

// signedRatios are those of signed profiles, of the parts that were measured.
func (p *page) signedRatios() (all []ratio) {
	if p.Signed != nil {
		for _, packet := range []string{strangersPing, strangersDatagram} {
			many, one := p.signedCostOf(packet, signedCase{100, 1}), p.signedCostOf(packet, signedCase{1, 1})
			all = append(all, ratio{"nftables, 100 signed profiles to 1: " + packet, many / one, "", 1.1, true})
		}
	}
	if c := p.loadingOf(10_000); c != nil {
		all = append(all, ratio{"one slot's tokens of 10,000 keys", c.Slot.Median, " s", 1, true})
	}
	if t := p.Tokens(); t.Arrived > 0 {
		all = append(all, ratio{"tokens that reached the host in a flood: the share that the kernel took", float64(t.Taken) / float64(t.Arrived), "", 1, false})
	}
	if k := p.Knocks; k != nil {
		all = append(all, ratio{fmt.Sprintf("knock in a flood of %s random tokens a second: the share of runs that opened", thousands(knockRate)), float64(k.Opens) / float64(k.Runs), "", 1, false})
	}
	return all
}
