package iptables

import (
	"slices"
	"strings"

	"knockkit/protocol"
)

// fewTables is how many recency tables a family may have before their order is worth
// transactions of its own: a packet finds the last of forty in some 0.3 µs.
const fewTables = 40

// primed reports whether the tables that packets ask most are to be made first, of both
// families, before an install of many profiles. IPv6's would all stand behind IPv4's on the
// kernel's list, and what a stranger's packet costs over IPv6 would grow with the profiles:
// 4.5 times as much at a gate with 100 as with one.
func primed(was, target map[protocol.Family]*ruleset) bool {
	for _, f := range protocol.Families() {
		if was[f] == nil || !was[f].empty() || len(target[f].uses) < fewTables {
			return false
		}
	}
	return true
}

// primer returns the transaction that makes the tables that are at least so hot. No packet
// reaches the chain that names them, and the family's own transaction replaces it. Whoever
// is killed before that leaves the chain: status asks to install again, which takes it up.
func (r *ruleset) primer(h heat) string {
	n := slices.IndexFunc(r.uses, func(u tableUse) bool { return u.heat > h })
	var b strings.Builder
	b.WriteString("*filter\n:" + chainAbout + " - [0:0]\n")
	for _, rule := range r.chain(chainAbout).Rules[:n] {
		b.WriteString("-A " + chainAbout + " " + rule + "\n")
	}
	b.WriteString(endOfTable)
	return b.String()
}
