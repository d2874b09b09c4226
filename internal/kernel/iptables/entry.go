package iptables

import (
	"knockkit/internal/kernel/backend"
	"knockkit/protocol"
)

// protos lists the protocols in the order in which KNOCKD asks for them.
var protos = [...]protocol.Proto{protocol.TCP, protocol.UDP, protocol.ICMP}

// entry fills KNOCKD: it tells events from other packets, and sources in a position
// from strangers.
func (r *renderer) entry() {
	c := r.out.newChain(chainTop)
	if r.anyCut(atInput) {
		r.noEvents(c, rule{comment("established: only a gate with cut looks"), goTo + chainCut})
	} else {
		r.noEvents(c, established())
	}
	stray(c, chainStray)
	for _, proto := range protos[1:] { // TCP knows no SYN to many
		c.add(r.proto(proto), "-m addrtype ! --dst-type LOCAL", comment("broadcast or multicast: no event"), goTo+chainStray)
	}
	if ban := r.Policy.Ban; ban != nil {
		c.add(r.banned().within(ban.For), comment("banned: no event, and shut out"), goTo+chainBanned)
	}
	c.add("-p tcp", unanswered, comment("the same SYN again: no event"), goTo+chainLate)
	if r.Policy.Strict {
		for _, proto := range protos {
			c.add(r.anyOf(proto), r.inProgress(), comment("in a position: what may come next?"), goTo+chainProgress)
		}
	} else {
		r.countedOnly(c)
	}
	r.toPorts(c)
}

// inProgress matches a source in a position. An entry that is older than the longest time of any
// position means nothing.
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
				pr.rules = append(pr.rules, rule{in, r.inProgress(), comment("in a position, and a knock"), goTo + chainProgress})
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

// notSYN matches TCP packets that open no connection.
const notSYN = "-p tcp -m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN"

// loopback matches what this host sends to itself. A SYNPROXY in front of our rules sends the SYNs
// of strangers over loopback too, but with their own source addresses.
const loopback = "-i lo -m addrtype --src-type LOCAL"

// unanswered matches the packets of a connection that conntrack has seen answered, but without an
// ACK to the answer: a SYN is the first one, sent again.
const unanswered = "-m conntrack --ctstate ESTABLISHED ! --ctstatus ASSURED"

// noEvents adds the rules for packets that are no events: loopback, established connections
// (for which the caller says what happens), and ICMP errors about connections.
//
// A SYN is not taken for established: conntrack keeps the entry of a connection that the client
// never ended, and counts a new connection from the same port as part of it. Related packets
// other than errors begin connections that a conntrack helper expects, to any port.
func (r *renderer) noEvents(c *chain, established ...rule) {
	c.add(loopback, comment("loopback is no event"), "-j RETURN")
	for _, e := range established {
		c.add(rule{notSYN, "-m conntrack --ctstate ESTABLISHED"}.with(e...)...)
		c.add(rule{"! -p tcp", "-m conntrack --ctstate ESTABLISHED"}.with(e...)...)
	}
	c.add(r.proto(protocol.ICMP), "-m conntrack --ctstate RELATED", comment("an error about a connection: no event"), "-j RETURN")
}

// established lets the packets of established connections pass.
func established() rule { return rule{comment("established: no event"), "-j RETURN"} }

// stray sends TCP packets that open no connection to the chain of those.
func stray(c *chain, to string) { c.add(notSYN, comment("not a SYN: no event"), goTo+to) }

// startOver fills KNOCKD-OVER: a source leaves its position by an event that none of its edges has.
// The event may still be the first knock of a sequence, or go to a gate.
func (r *renderer) startOver() {
	c := r.out.newChain(chainOver)
	c.add(r.progress().remove(), comment("start over"))
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
	for _, s := range backend.Segments(r.startsOf(proto)) {
		all = append(all, portRules{s.First, s.Last, r.stepRules(s.Uses[0].start.To)})
	}
	return all
}

// fall fills KNOCKD-FALL and KNOCKD-BAN: it counts falls, and bans the source at the one that is too
// many.
func (r *renderer) fall() {
	ban := r.Policy.Ban
	c := r.out.newChain(chainFall)
	c.add(r.fallen().set(), comment("fell from a position"))
	c.add(r.fallen().often(ban.After, ban.For), comment("for the %d. time: ban", ban.After), goTo+chainBan)
	r.toPorts(c)
	b := r.out.newChain(chainBan)
	b.add(rateLimit, report(backend.ReportBan, "", 0))
	b.add(r.banned().set(), comment("banned from now on"))
	b.add(r.fallen().remove(), comment("count anew after the ban"))
	b.add(goTo + chainBanned)
}
