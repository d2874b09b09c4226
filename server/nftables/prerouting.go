package nftables

import (
	"fmt"

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
func (r *render) prerouting() {
	if !r.any(early) {
		return
	}
	c := r.chain("prerouting")
	c.Hook = preroutingHook
	c.add("loopback is no event", `iif "lo" return`)
	cut := func(p *protocol.Profile) bool { return early(p) && p.Cut }
	if r.any(cut) {
		// What is not translated meets its gate at the input.
		c.add("established and translated: only a gate with cut looks", "ct state established ct status dnat goto early-cut")
	}
	c.add("established: no event", "ct state established,related return")
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

// passedRules let in, at the input, a connection that the profile's gate before
// destination NAT has let through: it was to a gated port when it came. The lease of
// `once` is used up by then, and cannot be asked for again.
func (r *render) passedRules(c *Chain, p *protocol.Profile, proto protocol.Proto, open string) {
	r.eachFamily(p, func(f protocol.Family) {
		for _, o := range p.Open {
			if o.Proto == proto {
				port := fmt.Sprint(o.First)
				if o.Last > o.First {
					port += fmt.Sprintf("-%d", o.Last)
				}
				c.add(p.Name+": passed the gate before NAT", scope(p.ScopeIn(f), f), "meta nfproto", f.String(), "meta l4proto", proto.String(), "ct original proto-dst", port, open)
			}
		}
	})
}
