package nftables

import "knockkit/protocol"

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
	c.head = []string{"type filter hook prerouting priority mangle; policy accept;"} // behind conntrack and before destination NAT
	established := []rule{{"return", "established: no event"}}
	cut := func(p *protocol.Profile) bool { return early(p) && p.Cut }
	if r.any(cut) { // what is not translated meets its gate at the input
		look := rule{"ct status dnat fib daddr type local goto early-cut", "established and translated: only a gate with cut looks"}
		established = append([]rule{look}, established...)
	}
	c.noEvents(established...)
	c.add("not to an address of this host", "fib daddr type != local return")
	r.portMap(c, "early-gates", r.segments(early), func(s gateSegment) string { return r.gate(earlyPrefix, s) })
	for _, p := range r.profiles() {
		if early(p) {
			r.open(earlyOpenPrefix, p, true, "return")
		}
	}
	if r.any(cut) {
		r.cutChain("early-cut", r.segments(early))
	}
}
