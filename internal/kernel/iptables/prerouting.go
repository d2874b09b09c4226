package iptables

import (
	"slices"
	"time"

	"knockkit/internal/kernel/backend"
	"knockkit/protocol"
)

// preroutingGates fills the chains in front of destination NAT, in the table mangle: the gates of
// profiles with place = "prerouting". They shut out and let nobody in: a packet that passes goes
// where NAT sends it, and to the gate at INPUT if that is this host.
//
// A chain reached by goto returns to PREROUTING at its end, so that the host's own rules there see a
// lease holder's packets like any others.
func (r *renderer) preroutingGates() {
	if !slices.ContainsFunc(r.Automaton.Profiles, beforeNAT) {
		return
	}
	c := r.out.newChain(chainPre)
	all := []rule{established()}
	if r.anyCut(beforeNAT) {
		// A packet that NAT leaves as it is meets its gate at INPUT, which can answer with a reset.
		cut := rule{"-m conntrack --ctstate DNAT", "-m addrtype --dst-type LOCAL", comment("established and translated: only a gate with cut looks"), goTo + chainPreCut}
		all = slices.Insert(all, 0, cut)
	}
	r.noEvents(c, all...)
	c.add("-m addrtype ! --dst-type LOCAL", comment("not to an address of this host"), "-j RETURN")
	stray(c, chainPreStray)
	if ban := r.Policy.Ban; ban != nil {
		c.add(r.banned().within(ban.For), comment("banned: shut out"), goTo+chainPreBanned)
	}
	for _, proto := range protos[:2] {
		r.preroutingPorts(c, proto)
	}
	for _, p := range r.Automaton.Profiles {
		if beforeNAT(p) {
			shut := r.out.newChain(chainName(prefixPreShut, p.Name, 0))
			shut.add(rateLimit, report(backend.ReportDenied, p.Name, 0))
			shut.add(comment("%s: closed before NAT", p.Name), "-j DROP") // the kernel has no REJECT in front of NAT
		}
	}
	r.gatesOnly(chainPreStray, beforeNAT, r.drop("a stray packet before NAT"))
	if r.Policy.Ban != nil {
		r.gatesOnly(chainPreBanned, beforeNAT, r.drop("banned before NAT"))
	}
	if r.anyCut(beforeNAT) {
		r.gatesOnly(chainPreCut, beforeNAT, r.cutRules(func(protocol.Proto) string { return "-j DROP" }))
	}
}

// preroutingPorts sends the packets of a protocol to the gates of their ports.
func (r *renderer) preroutingPorts(entry *chain, proto protocol.Proto) {
	var all []portRules
	for _, s := range backend.Segments(r.gatesOf(proto, beforeNAT)) {
		all = append(all, portRules{s.First, s.Last, r.preroutingRules(gatesOn(s))})
	}
	if len(all) == 0 {
		return
	}
	c := r.out.newChain(chainPre + portChain(proto)[len(chainTop):])
	entry.add(r.proto(proto), goTo+c.Name)
	r.out.split(c, c.Name, proto, all, "")
}

// preroutingRules ask each profile that opens the port for a lease, and then shut.
func (r *renderer) preroutingRules(profiles []*protocol.Profile) []rule {
	var rules []rule
	for _, p := range profiles {
		for _, in := range scope(p.ScopeIn(r.family)) {
			open := r.opened(p, protocol.PlacePrerouting, prefixPreOpen, "-j RETURN")
			for _, grant := range r.grantRules(p) {
				rules = append(rules, rule{in}.with(grant...).with(open))
			}
			for _, lease := range r.leaseRules(p) {
				if p.Once {
					lease = lease.with(r.passed(p).set())
				}
				rules = append(rules, rule{in, r.preCheck(p)}.with(lease...).with(open))
			}
		}
	}
	return append(rules, r.inScope(profiles, func(p *protocol.Profile) rule {
		return rule{comment("%s: no lease before NAT", p.Name), goTo + chainName(prefixPreShut, p.Name, 0)}
	})...)
}

// passedFor is more than a packet takes from one gate to the other.
const passedFor = time.Second
