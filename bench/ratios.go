//go:build linux

package main

import (
	"fmt"

	"knockkit/bench/stage"
	"knockkit/protocol"
)

// ratio is one thing that the rules are meant to hold, and what was measured.
type ratio struct {
	what   string
	value  float64
	unit   string
	limit  float64
	atMost bool // the limit is the most; else it is the least
}

func (r ratio) met() bool {
	if r.atMost {
		return r.value <= r.limit
	}
	return r.value >= r.limit
}

// String is a line for whoever runs the benchmark.
func (r ratio) String() string {
	word := "holds"
	if !r.met() {
		word = "DOES NOT HOLD"
	}
	return fmt.Sprintf("%s: %s, %s", r.what, r.measured(), word)
}

func (r ratio) measured() string { return fmt.Sprintf("%.2f%s", r.value, r.unit) }

func (r ratio) bound() string {
	if r.atMost {
		return fmt.Sprintf("at most %g%s", r.limit, r.unit)
	}
	return fmt.Sprintf("at least %g%s", r.limit, r.unit)
}

// RatioTable shows them.
func (p *page) RatioTable() string {
	var rows [][]string
	for _, r := range p.ratios() {
		verdict := "yes"
		if !r.met() {
			verdict = "**no**"
		}
		rows = append(rows, []string{r.what, r.bound(), r.measured(), verdict})
	}
	return markdown([]string{"", "meant to be", "measured", "holds"}, rows)
}

// ratios are those of the parts that were measured.
func (p *page) ratios() []ratio {
	var all []ratio
	cost := func(rules string, profiles int, pr probe) float64 {
		ns, _ := costOf(p.Packets, rules, profiles, pr)
		return ns
	}
	if p.Packets != nil {
		for _, g := range []struct {
			rules, name string
			profiles    int
			limit       float64
		}{{stage.NFTables, "nftables", 1000, 1.3}, {stage.IPTables, "iptables", 100, 1.5}} {
			for _, f := range protocol.Families() {
				for _, kind := range stage.Kinds() {
					what := fmt.Sprintf("%s, %s profiles to 1: %s", g.name, thousands(g.profiles), kind)
					if f == protocol.IPv6 {
						what += ", over IPv6"
					}
					pr := probe{kind, f}
					all = append(all, ratio{what, cost(g.rules, g.profiles, pr) / cost(g.rules, 1, pr), "", g.limit, true})
				}
			}
		}
		kind := probe{stage.Elsewhere, protocol.IPv4}
		idle := cost(stage.DropRule, 0, kind)
		for _, ours := range []string{stage.IPTables, stage.NFTables} {
			all = append(all,
				ratio{"the article's rules to " + ours + ", 100 profiles: the whole packet", cost(stage.Article, 100, kind) / cost(ours, 100, kind), "", 50, false},
				ratio{"the same, above what a drop rule costs", (cost(stage.Article, 100, kind) - idle) / (cost(ours, 100, kind) - idle), "", 50, false})
		}
	}
	all = append(all, p.signedRatios()...)
	if p.Commands != nil {
		all = append(all, p.commandRatios()...)
	}
	return all
}
