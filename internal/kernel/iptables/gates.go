package iptables

import (
	"slices"

	"knockkit/internal/kernel/backend"
	"knockkit/protocol"
)

// portChains fills KNOCKD-TCP, -UDP and -ICMP. Events of strangers go there, and events that made a
// source start over: is it a first knock, or a connection to a gate?
func (r *renderer) portChains() {
	for _, proto := range protos[:2] {
		c := r.out.newChain(portChain(proto))
		var all []portRules
		for _, s := range backend.Segments(r.usesOf(proto)) {
			pr := portRules{first: s.First, last: s.Last}
			for _, u := range s.Uses {
				switch {
				case u.start != nil:
					pr.rules = append(pr.rules, r.stepRules(u.start.To)...)
				case u.close != nil:
					pr.rules = append(pr.rules, r.closeRules(u.close)...)
				}
			}
			pr.rules = append(pr.rules, r.gateRules(gatesOn(s), proto)...)
			all = append(all, pr)
		}
		r.out.split(c, c.Name, proto, all, "")
	}
	c := r.out.newChain(portChain(protocol.ICMP))
	for _, e := range r.Automaton.Starts() {
		if e.Knock.Proto == protocol.ICMP {
			r.step(c, r.knock(e.Knock), e.To)
		}
	}
	for _, p := range r.Automaton.Profiles {
		if p.Close != nil && p.Close.Proto == protocol.ICMP {
			for _, ru := range r.closeRules(p) {
				c.add(append(rule{r.knock(*p.Close)}, ru...)...)
			}
		}
	}
}

// closeRules take the lease of the source away: the packet is the profile's close knock.
func (r *renderer) closeRules(p *protocol.Profile) []rule {
	one := []*protocol.Profile{p}
	return append(r.inScope(one, func(p *protocol.Profile) rule {
		return rule{r.lease(p).within(p.Lease), report(backend.ReportClose, p.Name, 0)}
	}), r.inScope(one, func(p *protocol.Profile) rule {
		return rule{r.lease(p).remove(), comment("%s: lease given back", p.Name)}
	})...)
}

// inScope returns rules for each profile, one for each prefix of its `to`.
func (r *renderer) inScope(profiles []*protocol.Profile, of func(p *protocol.Profile) rule) []rule {
	var rules []rule
	for _, p := range profiles {
		for _, in := range scope(p.ScopeIn(r.family)) {
			rules = append(rules, of(p).with(in))
		}
	}
	return rules
}

// preCheck matches a source that may have a lease, by the shared table. It is "", which matches any
// source, where the shared table does not tell: for a profile that has none, or has leases given by
// hand.
func (r *renderer) preCheck(p *protocol.Profile) string {
	if tab, ok := r.sharedTable(p); ok && !slices.ContainsFunc(r.Grants, func(g grant) bool { return g.Profile == p.Name }) {
		return tab.check()
	}
	return ""
}

// gateRules ask each profile that opens the port for a lease, and then shut.
func (r *renderer) gateRules(profiles []*protocol.Profile, proto protocol.Proto) []rule {
	asks := r.inScope(profiles, func(p *protocol.Profile) rule {
		return rule{r.preCheck(p), comment("%s: a lease?", p.Name), jump + chainName(prefixGate, p.Name, 0)}
	})
	return append(asks, r.inScope(byStrictness(profiles), func(p *protocol.Profile) rule {
		verdict := goTo + chainName(prefixShut, p.Name, 0)
		if p.Closed == protocol.ClosedContinue {
			verdict = "-j RETURN"
		}
		return rule{comment("%s: no lease", p.Name), verdict}
	})...)
}

// byStrictness orders profiles that open one port by what `closed` says: the
// strictest applies.
func byStrictness(profiles []*protocol.Profile) []*protocol.Profile {
	sorted := slices.Clone(profiles)
	slices.SortStableFunc(sorted, func(x, y *protocol.Profile) int { return int(x.Closed) - int(y.Closed) })
	return sorted
}

// closedRules say what a stray packet gets.
func (r *renderer) closedRules(profiles []*protocol.Profile, proto protocol.Proto) []rule {
	return r.inScope(byStrictness(profiles), func(p *protocol.Profile) rule {
		verdict := map[protocol.Closed]string{
			protocol.ClosedDrop: "-j DROP", protocol.ClosedReject: r.reject(proto), protocol.ClosedContinue: "-j RETURN",
		}[p.Closed]
		return rule{comment("%s: a stray packet", p.Name), verdict}
	})
}

// gates fills the chains of each profile, and those for packets that are no events.
func (r *renderer) gates() {
	for _, p := range r.Automaton.Profiles {
		r.gate(p)
		r.shut(p)
	}
	r.gatesOnly(chainStray, atInput, r.closedRules)
	r.gatesOnly(chainLate, atInput, r.gateRules)
	if r.Policy.Ban != nil {
		r.gatesOnly(chainBanned, atInput, r.drop("banned"))
	}
	if r.anyCut(atInput) {
		r.gatesOnly(chainCut, atInput, r.cutRules(r.cutVerdict))
	}
}

// gate fills KNOCKD-GATE-…: packets of a lease holder go on, others return.
func (r *renderer) gate(p *protocol.Profile) {
	c := r.out.newChain(chainName(prefixGate, p.Name, 0))
	open := r.opened(p, protocol.PlaceInput, prefixOpen, "-j ACCEPT")
	leases := r.leaseRules(p)
	if p.Once && beforeNAT(p) {
		// It has just used up a lease at the gate before destination NAT, where there is one.
		passed := r.passed(p)
		leases = slices.Insert(leases, 0, rule{passed.within(passedFor), passed.remove(), comment("%s: passed the gate before NAT", p.Name)})
	}
	for _, ru := range slices.Concat(r.grantRules(p), leases) {
		c.add(ru.with(open)...)
	}
}

// grantRules match a connection that a lease given by hand lets in.
func (r *renderer) grantRules(p *protocol.Profile) []rule {
	var rules []rule
	for _, g := range r.Grants {
		if g.Profile == p.Name {
			rules = append(rules, g.match(p)...)
		}
	}
	return rules
}

// leaseRules match a connection that a lease of the profile lets in.
func (r *renderer) leaseRules(p *protocol.Profile) []rule {
	var rules []rule
	if p.Once {
		rules = append(rules, rule{r.used(p).within(backend.HandshakeTime), unanswered, comment("%s: the SYN that used the lease, again", p.Name)})
	}
	for _, from := range r.sources(p) {
		switch lease := r.lease(p); {
		case p.Once:
			if p.Closed != protocol.ClosedContinue {
				// Until it is answered, a connection's packets are all NEW. The first
				// one used the lease up; the flow it belongs to is known since. What comes over
				// loopback is known before it comes.
				elsewhere := "! -i lo"
				if p.Interface != "" {
					elsewhere = "" // the rule has it, or the one that leads here
				}
				rules = append(rules, rule{elsewhere, "-m conntrack --ctstate NEW,RELATED --ctstatus CONFIRMED", comment("%s: the connection that used the lease", p.Name)})
			}
			rules = append(rules, rule{from, lease.within(p.Lease), lease.remove(), r.used(p).set(), comment("%s: a lease, for one connection", p.Name)})
		case p.Renew:
			again := ""
			if table, ok := r.sharedTable(p); ok { // or newer leases of others would evict it there
				again = table.set()
			}
			rules = append(rules, rule{from, lease.renew(p.Lease), again, comment("%s: a lease, which starts again", p.Name)})
		default:
			rules = append(rules, rule{from, lease.within(p.Lease), comment("%s: a lease", p.Name)})
		}
	}
	return rules
}

// opened returns the verdict on a connection that a lease lets in. Where the profile has rules of
// its own for the gate at this place, that is a jump to KNOCKD-OPEN-…, which has those rules and
// then the verdict.
func (r *renderer) opened(p *protocol.Profile, at protocol.Place, prefix, verdict string) string {
	bodies := p.Opened.IPTables
	if r.family == protocol.IPv6 {
		bodies = p.Opened.IP6Tables
	}
	if len(bodies) == 0 || p.Place != at {
		return verdict
	}
	name := chainName(prefix, p.Name, 0)
	if r.out.chain(name) == nil {
		c := r.out.newChain(name)
		for _, body := range bodies {
			c.add(body)
		}
		c.add(comment("%s: open", p.Name), verdict)
	}
	return goTo + name
}

// shut fills KNOCKD-SHUT-…: a connection without a lease is reported, and gets what `closed` says.
func (r *renderer) shut(p *protocol.Profile) {
	if p.Closed == protocol.ClosedContinue {
		return
	}
	c := r.out.newChain(chainName(prefixShut, p.Name, 0))
	c.add(rateLimit, report(backend.ReportDenied, p.Name, 0))
	closed := comment("%s: closed", p.Name)
	if p.Closed == protocol.ClosedDrop {
		c.add(closed, "-j DROP")
		return
	}
	for _, proto := range protos[:2] {
		c.add(r.proto(proto), closed, r.reject(proto))
	}
}
