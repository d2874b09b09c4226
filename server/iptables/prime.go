package iptables

import (
	"fmt"
	"slices"
	"strings"

	"knockkit/protocol"
)

// fewTables is how many recency tables a family may have before their order is worth
// transactions of its own: a packet finds the last of forty in some 0.3 µs.
const fewTables = 40

// prime adds transactions before the first install of many profiles. IPv6's tables would
// all stand behind IPv4's on the kernel's list, and what a stranger's packet costs over IPv6
// would grow with the profiles: 4.5 times as much at a gate with 100 as with one. So the
// tables that packets ask most are made first, of both families in turn. No packet reaches
// the chain that names them, and the family's own transaction replaces it. Whoever is killed
// before that leaves the chain: status asks to install again, which takes it up.
func prime(was snapshot, target map[protocol.Family]*Ruleset, add func(protocol.Family, string)) {
	for _, f := range protocol.Families() {
		if was[f] == nil || !was[f].Ours.Empty() || len(target[f].heats) < fewTables {
			return
		}
	}
	for h := hot; h < cold; h++ {
		for _, f := range protocol.Families() {
			add(f, target[f].primer(h))
		}
	}
}

// primer returns the transaction that makes the tables that are at least so hot.
func (r *Ruleset) primer(h heat) string {
	n := slices.IndexFunc(r.heats, func(other heat) bool { return other > h })
	var b strings.Builder
	fmt.Fprintf(&b, "*filter\n:%s - [0:0]\n", chainAbout)
	for _, rule := range r.Chain(chainAbout).Rules[:n] {
		fmt.Fprintf(&b, "-A %s %s\n", chainAbout, rule)
	}
	b.WriteString(endOfTable)
	return b.String()
}
