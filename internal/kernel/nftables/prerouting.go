package nftables

import "knockkit/protocol"

// What the names of chains of a gate before destination NAT begin with.
const (
	prePrefix     = "pre-"
	preOpenPrefix = "pre-open-"
)

// prerouting fills the chains in front of destination NAT: the gates of profiles with
// place = "prerouting". They shut out, and let nobody in: what passes goes on to
// where NAT sends it, and to the gate at the input if that is here.
func (r *renderer) prerouting() {
	if !r.any(beforeNAT) {
		return
	}
	c := r.chain("prerouting")
	c.head = []string{"type filter hook prerouting priority mangle; policy accept;"} // behind conntrack and before destination NAT
	established := []rule{passEstablished()}
	cut := func(p *protocol.Profile) bool { return beforeNAT(p) && p.Cut }
	if r.any(cut) { // what is not translated meets its gate at the input
		ask := rule{"ct status dnat fib daddr type local goto pre-cut", "established and translated: only a gate with cut looks"}
		established = append([]rule{ask}, established...)
	}
	c.noEvents(established...)
	c.add("not to an address of this host", "fib daddr type != local return")
	r.portMap(c, "pre-gates", r.segments(beforeNAT), func(s gateSegment) string { return r.gate(prePrefix, s) })
	for _, p := range r.profiles() {
		if beforeNAT(p) {
			r.open(preOpenPrefix, p, true, "return")
		}
	}
	if r.any(cut) {
		r.cutChain("pre-cut", r.segments(beforeNAT))
	}
}
