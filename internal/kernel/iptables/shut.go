package iptables

import (
	"slices"

	"knockkit/internal/kernel/backend"
	"knockkit/protocol"
)

// gatesOnly fills a chain that asks only for gates: a packet to a gated port gets the rules, any
// other goes on to the host's own.
func (r *renderer) gatesOnly(name string, which func(*protocol.Profile) bool, rulesOf func([]*protocol.Profile, protocol.Proto) []rule) {
	top := r.out.newChain(name)
	for _, proto := range protos[:2] {
		var all []portRules
		for _, s := range backend.Segments(r.gatesOf(proto, which)) {
			if rules := rulesOf(gatesOn(s), proto); len(rules) > 0 {
				all = append(all, portRules{s.First, s.Last, rules})
			}
		}
		if len(all) == 0 {
			continue
		}
		c := r.out.newChain(name + portChain(proto)[len(chainTop):])
		top.add(r.proto(proto), goTo+c.Name)
		r.out.split(c, c.Name, proto, all, "")
	}
}

// drop shuts everybody out of a gate, whatever `closed` says.
func (r *renderer) drop(why string) func([]*protocol.Profile, protocol.Proto) []rule {
	return func(profiles []*protocol.Profile, _ protocol.Proto) []rule {
		return r.inScope(profiles, func(p *protocol.Profile) rule { return rule{comment("%s: %s", p.Name, why), "-j DROP"} })
	}
}

// cutRules end an established connection whose lease is over. A port that some profile opens without
// `cut` is left alone: the connection may be one of that profile's.
func (r *renderer) cutRules(verdict func(protocol.Proto) string) func([]*protocol.Profile, protocol.Proto) []rule {
	return func(profiles []*protocol.Profile, proto protocol.Proto) []rule {
		return r.cut(profiles, proto, verdict(proto))
	}
}

func (r *renderer) cut(profiles []*protocol.Profile, proto protocol.Proto, verdict string) []rule {
	var rules []rule
	for _, p := range profiles {
		if !p.Cut {
			return nil
		}
	}
	for _, p := range profiles {
		for _, in := range scope(p.ScopeIn(r.family)) {
			for _, grant := range r.grantRules(p) {
				rules = append(rules, grant.with("-j RETURN"))
			}
			rules = append(rules, rule{in, r.lease(p).within(p.Lease), comment("%s: the lease goes on", p.Name), "-j RETURN"})
		}
	}
	if proto == protocol.TCP {
		// The client's own reset has to reach the server, or only one side would end.
		rules = append(rules, rule{"--tcp-flags RST RST", "-j RETURN"})
	}
	return append(rules, r.inScope(profiles, func(p *protocol.Profile) rule {
		return rule{"-m conntrack --ctdir ORIGINAL", comment("%s: cut", p.Name), verdict}
	})...)
}

// cutVerdict tells a TCP client at once that its connection has ended.
func (r *renderer) cutVerdict(proto protocol.Proto) string {
	if proto == protocol.TCP {
		return r.reject(proto)
	}
	return "-j DROP"
}

func (r *renderer) anyCut(which func(*protocol.Profile) bool) bool {
	return slices.ContainsFunc(r.Automaton.Profiles, func(p *protocol.Profile) bool { return p.Cut && which(p) })
}
