package nftables

import (
	"fmt"
	"time"

	"knockkit/protocol"
)

// preroutingHook is behind conntrack and before destination NAT.
const preroutingHook = "type filter hook prerouting priority mangle; policy accept;"

// What the names of chains of a gate before destination NAT begin with.
const (
	earlyPrefix     = "early-"
	earlyOpenPrefix = "early-open-"
)

// prerouting fills the chains in front of destination NAT: the gates of profiles with
// place = "prerouting". They shut out, and let nobody in: what passes goes on to
// where NAT sends it, and to the gate at the input if that is here.
func (r *renderer) prerouting() {
	if !r.any(early) {
		return
	}
	c := r.chain("prerouting")
	c.head = []string{preroutingHook}
	c.add("loopback is no event", loopback, "return")
	cut := func(p *protocol.Profile) bool { return early(p) && p.Cut }
	if r.any(cut) {
		// What is not translated meets its gate at the input.
		for _, packet := range established() {
			c.add("established and translated: only a gate with cut looks", packet, "ct status dnat fib daddr type local goto early-cut")
		}
	}
	for _, packet := range established() {
		c.add("established: no event", packet, "return")
	}
	related(c)
	c.add("not to an address of this host", "fib daddr type != local return")
	r.portMap(c, "early-gates", r.segments(early), func(s gateSegment) string { return r.gate(earlyPrefix, s) })
	for _, p := range r.profiles() {
		if early(p) {
			o := r.chain(earlyOpenPrefix + p.Name)
			o.bodies(p)
			o.add(p.Name+": open", "return")
		}
	}
	if r.any(cut) {
		r.cutChain("early-cut", r.segments(early))
	}
}

// passed lets in, at the input, a connection that has just used up a lease of `once` at
// the early gate, where it is noted. What NAT sends here may have met no gate on its way.
func (r *renderer) passed(c *thing, p *protocol.Profile, f protocol.Family, where, begins, open string) {
	set := passedSet(p, f)
	c.add(p.Name+": passed the gate before NAT", where, begins, saddr(f), "@"+set, remove(set, saddr(f)), open)
}

// notePassed is what the early gate does for it.
func notePassed(p *protocol.Profile, f protocol.Family) string {
	return fmt.Sprintf("update @%s { %s%s }", passedSet(p, f), saddr(f), timeout(time.Second))
}
