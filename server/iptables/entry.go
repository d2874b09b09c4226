package iptables

import (
	"knockkit/protocol"
)

// protos lists the protocols in the order in which KNOCKD asks for them.
var protos = [...]protocol.Proto{protocol.TCP, protocol.UDP, protocol.ICMP}

// entry fills KNOCKD: it tells events from other packets (DESIGN 4.1) and sources
// in a position from strangers.
func (r *renderer) entry() {
	c := r.out.newChain(chainTop)
	c.add(loopback, note("loopback is no event"), "-j RETURN")
	for _, packet := range established() {
		if r.anyCut(everywhere) {
			c.add(packet, note("established: only a gate with cut looks"), goTo+chainCut)
		} else {
			c.add(packet, note("established: no event"), "-j RETURN")
		}
	}
	r.related(c)
	c.add(notSYN, note("not a SYN: no event"), goTo+chainStray)
	for _, proto := range protos[1:] { // a SYN to many is nothing that TCP knows
		c.add(r.proto(proto), "-m addrtype ! --dst-type LOCAL", note("broadcast or multicast: no event"), goTo+chainStray)
	}
	if ban := r.Policy.Ban; ban != nil {
		c.add(r.banned().within(ban.For), note("banned: no event, and shut out"), goTo+chainBanned)
	}
	c.add("-p tcp", unanswered, note("the same SYN again: no event"), goTo+chainLate)
	if r.Policy.Strict {
		for _, proto := range protos {
			c.add(r.anyOf(proto), r.inProgress(), note("in a position: what may come next?"), goTo+chainProgress)
		}
	} else {
		r.countedOnly(c)
	}
	r.toPorts(c)
}

// inProgress matches a source in a position. An entry older than the longest
// time of any position says nothing any more.
func (r *renderer) inProgress() string { return r.progress().within(r.Automaton.Longest()) }

// anyOf matches every event of a protocol.
func (r *renderer) anyOf(proto protocol.Proto) string {
	if proto == protocol.ICMP {
		return r.knock(protocol.Knock{Proto: proto})
	}
	return r.proto(proto)
}

// toPorts sends the packet to the first knocks and gates of its protocol.
func (r *renderer) toPorts(c *chain) {
	for _, proto := range protos {
		c.add(r.anyOf(proto), goTo+portChain(proto))
	}
}

// portChain is the chain of a protocol's first knocks and gates.
func portChain(p protocol.Proto) string {
	return map[protocol.Proto]string{
		protocol.TCP: "KNOCKD-TCP", protocol.UDP: "KNOCKD-UDP", protocol.ICMP: "KNOCKD-ICMP",
	}[p]
}

// countedOnly lets only the knocks of some sequence count (setting strict = false).
func (r *renderer) countedOnly(entry *chain) {
	for _, proto := range protos {
		var counted []portRules
		for _, l := range r.Automaton.Alphabet() {
			if l.Knock.Proto != proto {
				continue
			}
			pr := portRules{first: l.Knock.Port, last: l.Knock.Port}
			for _, in := range scope(l.Scope) {
				pr.rules = append(pr.rules, rule{in, r.inProgress(), note("in a position, and a knock"), goTo + chainProgress})
			}
			counted = append(counted, pr)
		}
		switch {
		case len(counted) == 0:
		case proto == protocol.ICMP:
			for _, pr := range counted {
				for _, ru := range pr.rules {
					entry.add(ru.with(r.anyOf(proto))...)
				}
			}
		default:
			c := r.out.newChain(portChain(proto) + "-ANY")
			entry.add(r.proto(proto), goTo+c.Name)
			r.out.split(c, c.Name, proto, counted, portChain(proto))
		}
	}
}
