package nftables

import "knockkit/protocol"

// The words that begin the names of chains of a gate before destination NAT.
const (
	prePrefix     = "pre-"
	preOpenPrefix = "pre-open-"
)

// prerouting fills the chains in front of destination NAT: the gates of profiles with place =
// "prerouting". They shut out and let nobody in: a packet that passes goes where NAT sends it, and
// to the gate at the input if that is this host.
func (r *renderer) prerouting() {
	if !r.any(beforeNAT) {
		return
	}
	c := r.chain("prerouting")
	c.head = []string{"type filter hook prerouting priority mangle; policy accept;"} // behind conntrack and before destination NAT
	established := []rule{passEstablished()}
	cut := func(p *protocol.Profile) bool { return beforeNAT(p) && p.Cut }
	if r.any(cut) { // a packet that NAT leaves as it is meets its gate at the input
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
