package doctor

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"knockkit/protocol"
)

// verdict is what a rule does with a packet that it matches.
type verdict uint8

// The verdicts. Divert is another destination (DNAT, REDIRECT); ours leads into our chains; goOn is
// any target that decides nothing, as a counter or a log.
const (
	goOn verdict = iota
	accept
	drop
	back
	jump
	jumpAway // goto
	divert
	untrack
	ours
)

// rule is a rule of any tool.
type rule struct {
	text       string // as its tool prints it
	conditions []condition
	verdict    verdict
	target     string      // of jump and jumpAway
	to         destination // of divert
	handle     int         // of nft
}

// destination is where a rule sends packets.
type destination struct {
	known bool
	addr  netip.Addr // the zero Addr: this host
	port  uint16     // 0: as it was
}

// match is the weakest answer of the conditions, and where that is perhaps, the words of the
// conditions that are.
func (r *rule) match(p packet) (a answer, only []string) {
	a = yes
	for _, c := range r.conditions {
		switch c.is(p) {
		case no:
			return no, nil
		case perhaps:
			a, only = perhaps, append(only, c.words)
		}
	}
	return a, only
}

// hookPoint is where the kernel calls a chain: a hook, and a priority. Packets come to a lower one
// first.
type hookPoint struct {
	hook     int
	priority int
}

// The hooks, in the order in which a packet comes to them.
const (
	noHook = iota
	ingress
	prerouting
	input
	forward
	localOutput
	postrouting
	egress
)

// The hooks that each kind of packet passes.
var (
	inwards  = []int{ingress, prerouting, input}
	outwards = []int{localOutput, postrouting, egress}
	through  = []int{ingress, prerouting, forward, postrouting, egress}
)

func (p hookPoint) compare(o hookPoint) int {
	return cmp.Or(cmp.Compare(p.hook, o.hook), cmp.Compare(p.priority, o.priority))
}

// chain is a chain of any tool.
type chain struct {
	tool   string          // "iptables-nft", "iptables-legacy", "nft"
	family protocol.Family // Both for nft's inet
	table  string          // with the family in front for nft: "inet filter"
	name   string
	point  hookPoint  // hook noHook: called by rules only
	policy verdict    // of a chain with a hook: accept or drop
	nat    bool       // only the first packet of a connection comes to it
	device *condition // of a chain that is called for some interfaces only; or nil
	rules  []*rule
}

// String names the chain for a person: "chain INPUT of table filter (iptables-nft, ipv4)".
func (c *chain) String() string {
	if c.tool == nftTool {
		return fmt.Sprintf("chain %s of table %s (nft)", c.name, c.table)
	}
	return fmt.Sprintf("chain %s of table %s (%s, %s)", c.name, c.table, c.tool, c.family)
}

// host is the chains of all tools on a host.
type host struct {
	called []*chain           // those that the kernel calls, in a packet's order
	named  map[chainID]*chain // for jumps
}

// chainID identifies a chain.
type chainID struct {
	tool   string
	family protocol.Family
	table  string
	name   string
}

// add adds chains behind those of the same hook and priority.
func (h *host) add(chains ...*chain) {
	if h.named == nil {
		h.named = map[chainID]*chain{}
	}
	for _, c := range chains {
		h.named[chainID{c.tool, c.family, c.table, c.name}] = c
		if c.point.hook != noHook {
			h.called = append(h.called, c)
		}
	}
	slices.SortStableFunc(h.called, func(x, y *chain) int { return x.point.compare(y.point) })
}

// forgetJumps removes the jumps to our chains. Without a jump, packets are followed as if an install
// had put one first.
func (h host) forgetJumps() {
	for _, c := range h.called {
		c.rules = slices.DeleteFunc(c.rules, func(r *rule) bool { return r.verdict == ours && len(r.conditions) == 0 })
	}
}

// callee returns the chain that a rule of c jumps to, or nil.
func (h host) callee(c *chain, name string) *chain {
	return h.named[chainID{c.tool, c.family, c.table, name}]
}

// stations returns the chains that a packet comes to at the hooks, in order.
func (h host) stations(p packet, hooks []int) []*chain {
	return slices.DeleteFunc(slices.Clone(h.called), func(c *chain) bool {
		return !slices.Contains(hooks, c.point.hook) || c.family != protocol.Both && c.family != p.Family || c.nat && p.stage != first
	})
}
