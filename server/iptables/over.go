package iptables

import (
	"knockkit/protocol"
	"knockkit/server/backend"
)

// over fills KNOCKD-OVER: a source leaves its position by an event that is none
// of its edges. The event may still be the first knock of a sequence, or go to a gate.
func (r *renderer) over() {
	c := r.out.newChain(chainOver)
	c.add(r.progress().remove(), note("start over"))
	if r.Policy.Ban == nil {
		r.toPorts(c)
		return
	}
	for _, proto := range protos[:2] {
		if starts := r.startRules(proto); len(starts) > 0 {
			s := r.out.newChain(map[protocol.Proto]string{protocol.TCP: "KNOCKD-OVER-TCP", protocol.UDP: "KNOCKD-OVER-UDP"}[proto])
			c.add(r.proto(proto), goTo+s.Name)
			r.out.split(s, s.Name, proto, starts, chainFall)
		}
	}
	for _, e := range r.Automaton.Starts() {
		if e.Knock.Proto == protocol.ICMP {
			r.step(c, r.knock(e.Knock), e.To)
		}
	}
	c.add(goTo + chainFall)
	r.fall()
}

// startRules are the first knocks of a protocol, without the gates.
func (r *renderer) startRules(proto protocol.Proto) []portRules {
	var all []portRules
	for _, s := range backend.Cut(r.startsOf(proto)) {
		all = append(all, portRules{s.First, s.Last, r.stepRules(s.Uses[0].start.To)})
	}
	return all
}

// fall counts a fall to the root; the one too many bans the source (DESIGN 4.3).
func (r *renderer) fall() {
	ban := r.Policy.Ban
	c := r.out.newChain(chainFall)
	c.add(r.fallen().set(), note("fell from a position"))
	c.add(r.fallen().often(ban.After, ban.For), note("for the %d. time: ban", ban.After), goTo+chainBan)
	r.toPorts(c)
	b := r.out.newChain(chainBan)
	b.add(seldom, report(backend.EventBan, "", 0))
	b.add(r.banned().set(), note("banned from now on"))
	b.add(r.fallen().remove(), note("count anew after the ban"))
	b.add(goTo + chainBanned)
}
