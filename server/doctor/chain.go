package doctor

import (
	"cmp"
	"fmt"
	"slices"

	"knockkit/protocol"
)

// Packet is the first packet of a connection, or a knock, from a stranger on the
// network to an address of the host.
type Packet struct {
	Family protocol.Family
	Knock  protocol.Knock
}

// answer says whether a match is true of a packet.
type answer uint8

// The answers. Perhaps stands for what depends on more than the packet's kind (its
// source, its interface), and for what is not understood.
const (
	no answer = iota
	perhaps
	yes
)

func (a answer) not() answer { return yes - a }

func sure(b bool) answer {
	if b {
		return yes
	}
	return no
}

// condition is one match of a rule.
type condition func(Packet) answer

// verdict is what a rule does with a packet that it matches.
type verdict uint8

// The verdicts. Divert is a destination of its own (DNAT, REDIRECT); ours is the way
// into our chains; goOn is everything that is none, as a counter or a log.
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
	target     string // of jump and jumpAway
}

// match is the weakest answer of the conditions.
func (r *rule) match(p Packet) answer {
	all := yes
	for _, c := range r.conditions {
		all = min(all, c(p))
	}
	return all
}

// place is where a chain is called from the kernel, in the order in which a packet
// comes by: hook first, then priority.
type place struct {
	hook     int
	priority int
}

// The hooks that a packet to the host passes.
const (
	noHook = iota
	ingress
	prerouting
	input
)

func (p place) compare(o place) int {
	return cmp.Or(cmp.Compare(p.hook, o.hook), cmp.Compare(p.priority, o.priority))
}

// chain is a chain of any tool.
type chain struct {
	tool   string          // "iptables-nft", "iptables-legacy", "nft"
	family protocol.Family // Both for nft's inet
	table  string          // with the family in front for nft: "inet filter"
	name   string
	place  place   // hook noHook: called by rules only
	policy verdict // of a chain with a hook: accept or drop
	rules  []*rule
}

func (c *chain) add(r *rule) { c.rules = append(c.rules, r) }

func (c *chain) in(f protocol.Family) bool { return c.family == protocol.Both || c.family == f }

// String names the chain for a person: "chain INPUT of table filter (iptables-nft, ipv4)".
func (c *chain) String() string {
	if c.tool == nftTool {
		return fmt.Sprintf("chain %s of table %s (nft)", c.name, c.table)
	}
	return fmt.Sprintf("chain %s of table %s (%s, %s)", c.name, c.table, c.tool, c.family)
}

// host is all chains of a host.
type host []*chain

// callee returns the chain that a rule of c jumps to, or nil.
func (h host) callee(c *chain, name string) *chain {
	i := slices.IndexFunc(h, func(o *chain) bool {
		return o.name == name && o.tool == c.tool && o.table == c.table && o.family == c.family
	})
	if i < 0 {
		return nil
	}
	return h[i]
}

// stations returns the chains that a packet of the family passes, in its order.
func (h host) stations(f protocol.Family) []*chain {
	var all []*chain
	for _, c := range h {
		if c.place.hook != noHook && c.in(f) {
			all = append(all, c)
		}
	}
	slices.SortStableFunc(all, func(x, y *chain) int { return x.place.compare(y.place) })
	return all
}
