package nftables

import (
	"fmt"
	"slices"
	"strings"

	"knockkit/internal/kernel/backend"
	"knockkit/protocol"
)

// byPort is the key of the maps that are asked for a packet's protocol and port.
const byPort = "meta l4proto . th dport"

// scratch is the register that has a source's state while it is part of a key: see the package's
// documentation.
const scratch = "meta priority"

// sets makes the sets and maps that packets fill.
func (r *renderer) sets() {
	for _, f := range r.families {
		r.dynamic(positionPrefix+digit(f), saddr(f)+" : "+scratch, positionsSize)
		if r.want.Policy.Ban != nil {
			r.dynamic(bannedPrefix+digit(f), saddr(f), 0)
			for i := range r.want.Policy.Ban.After - 1 {
				r.dynamic(fallSet(f, i+1), saddr(f), 0)
			}
		}
		for _, p := range r.want.Of(f).Profiles {
			r.dynamic(r.versions.lease(p, f), saddr(f), 0)
			for _, bits := range r.hand[leaseKey(p, f)] {
				r.dynamic(r.versions.given(p, f, bits), saddr(f), 0)
			}
			if p.Once {
				r.dynamic(takenSet(p, f), saddr(f), 0)
				r.dynamic(usedSet(p, f), saddr(f), 0)
			}
			if p.Once && beforeNAT(p) {
				r.dynamic(passedSet(p, f), saddr(f), 0)
			}
		}
		for _, name := range r.kept.names(f) {
			r.dynamic(name, saddr(f), 0)
		}
	}
}

// events tells events from other packets.
func (r *renderer) events() {
	c := r.chain("input")
	// Before the host's own filter chains, which may drop what is a knock to us, and behind
	// conntrack and destination NAT.
	c.head = []string{"type filter hook input priority filter - 10; policy accept;"}
	carried := func() { r.carried(c) }
	if r.any(cuts) {
		c.noEventsBut(carried, rule{"goto cut", "established: only a gate with cut looks"})
	} else {
		c.noEventsBut(carried, passEstablished())
	}
	c.add("not a SYN: no event", notSYN+" goto gate")
	c.add("the same SYN again: no event", "meta l4proto tcp", unanswered, "goto gate")
	// TCP knows no SYN to many, and the look-up costs something.
	c.add("broadcast or multicast: no event", "meta l4proto != tcp fib daddr type != local goto gate")
	for _, f := range r.families {
		if r.want.Policy.Ban != nil {
			c.add("banned: no event, and shut out", saddr(f), "@banned"+digit(f), "goto gate")
		}
	}
	for _, f := range r.families {
		c.add("", "meta nfproto", f.String(), "goto progress"+digit(f))
	}
}

// progress fills the chains that ask for the position of a source, and for what may come next there.
func (r *renderer) progress(f protocol.Family) {
	a := r.want.Of(f)
	c := r.chain("progress" + digit(f))
	ask := fmt.Sprintf("%s set %s map @position%s goto next%s", scratch, saddr(f), digit(f), digit(f))
	if r.want.Policy.Strict {
		for _, match := range []string{"meta l4proto tcp", "meta l4proto udp", echo(f)} {
			c.add("in a position: what may come next?", match, ask)
		}
	} else {
		r.countedOnly(c, a, ask)
	}
	c.add("", "goto first"+digit(f))

	m := r.chain("next" + digit(f))
	m.add("the next knock, or the same again", scratch+" . "+byPort, "vmap @edges"+digit(f))
	m.add("the same for a ping", echo(f), scratch, "vmap @pings"+digit(f))
	r.resets(a, m)
	m.add("anything else", "goto over")
	r.edges(a)

	s := r.chain("first" + digit(f))
	s.add("a first knock?", byPort, "vmap @starts"+digit(f))
	r.starts(a, s)
	s.add("", "goto other")
}

// resets report that a source starts over from its position, which is still in the scratch register.
func (r *renderer) resets(a *protocol.Automaton, c *object) {
	var elements []string
	for _, i := range stays(a) {
		u := a.States[i].Users[0]
		reset := r.chain("reset-" + stateLabel(a, i))
		if len(reset.rules) == 0 {
			reset.add("", report(backend.ReportReset, u.Profile.Name, u.Step))
		}
		elements = append(elements, fmt.Sprintf("%s : jump %s", r.number(a, i), reset.name))
	}
	r.verdicts("resets"+digit(a.Family), scratch, elements)
	c.add("report it", rateLimit, scratch, "vmap @resets"+digit(a.Family))
}

// countedOnly lets only the knocks of some sequence count (setting strict = false).
func (r *renderer) countedOnly(c *object, a *protocol.Automaton, ask string) {
	var anywhere []string
	f := a.Family
	for _, l := range a.Alphabet() {
		where := scope(l.Scope, f)
		switch {
		case l.Knock.Proto == protocol.ICMP:
			c.add("in a position, and a knock", where, echo(f), ask)
		case where == "":
			anywhere = append(anywhere, portKey(l.Knock))
		default:
			c.add("in a position, and a knock", where, fmt.Sprintf("%s dport %d", l.Knock.Proto, l.Knock.Port), ask)
		}
	}
	r.others = append(r.others, &object{kind: setKind, name: "knocks" + digit(f), head: []string{"typeof " + byPort}, elements: anywhere})
	c.add("in a position, and a knock", byPort, "@knocks"+digit(f), ask)
}

func portKey(k protocol.Knock) string { return fmt.Sprintf("%s . %d", k.Proto, k.Port) }

// edges fills the maps of what a source in a position may do next.
func (r *renderer) edges(a *protocol.Automaton) {
	var edges, pings []string
	for _, i := range stays(a) {
		s := &a.States[i]
		n := r.number(a, i)
		add := func(k protocol.Knock, chain string) {
			if k.Proto == protocol.ICMP {
				pings = append(pings, fmt.Sprintf("%s : goto %s", n, chain))
			} else {
				edges = append(edges, fmt.Sprintf("%s . %s : goto %s", n, portKey(k), chain))
			}
		}
		for _, e := range slices.Concat(s.Edges, s.Suffix) {
			add(e.Knock, r.scoped(a, e.To, "to-", enterChain(a, e.To), "over"))
		}
		add(s.Last(), r.scoped(a, i, "again-", stayChain(a, i), "over"))
	}
	r.verdicts("edges"+digit(a.Family), scratch+" . "+byPort, edges)
	r.verdicts("pings"+digit(a.Family), scratch, pings)
}

// starts fills the map of first knocks; a ping has a rule of its own.
func (r *renderer) starts(a *protocol.Automaton, c *object) {
	var starts []string
	for _, e := range a.Starts() {
		chain := r.scoped(a, e.To, "first-", enterChain(a, e.To), "other")
		if e.Knock.Proto == protocol.ICMP {
			c.add("a first knock: "+name(a, e.To), echo(a.Family), "goto "+chain)
		} else {
			starts = append(starts, portKey(e.Knock)+" : goto "+chain)
		}
	}
	r.verdicts("starts"+digit(a.Family), byPort, starts)
}

// scoped returns the chain to go to for state i: the state's own where its scope is anywhere, else
// one that asks for the scope, and leads to otherwise for packets outside it.
func (r *renderer) scoped(a *protocol.Automaton, i int, prefix, chain, otherwise string) string {
	where := scope(a.States[i].Scope, a.Family)
	if where == "" {
		return chain
	}
	c := r.chain(prefix + stateLabel(a, i) + "." + digit(a.Family))
	if len(c.rules) == 0 {
		c.add(name(a, i)+": only here", where, "goto "+chain)
		c.add("", "goto "+otherwise)
	}
	return c.name
}

// over takes a source back to no position: none of its edges has the event. The event may still be a
// first knock, or go to a gate.
func (r *renderer) over() {
	c := r.chain("over")
	for _, f := range r.families {
		c.add("start over", fmt.Sprintf("delete @position%s { %s : none }", digit(f), saddr(f)))
	}
	c.add("", scratch+" set none")
	for _, f := range r.families {
		if r.want.Policy.Ban == nil {
			c.add("", "meta nfproto", f.String(), "goto first"+digit(f))
		} else {
			r.startOver(c, r.want.Of(f))
		}
	}
	if r.want.Policy.Ban != nil {
		c.add("", "goto fall")
		r.fall()
	}
}

// startOver asks for a first knock of a source that has left its position. A first knock outside its
// scope is a fall too. So scopes are asked for here, and not by the map of first knocks, which leads
// strangers on.
func (r *renderer) startOver(c *object, a *protocol.Automaton) {
	f := a.Family
	for _, e := range a.Starts() {
		match, where := fmt.Sprintf("meta nfproto %s %s dport %d", f, e.Knock.Proto, e.Knock.Port), scope(a.States[e.To].Scope, f)
		if e.Knock.Proto == protocol.ICMP {
			match = echo(f)
		} else if where == "" {
			continue
		}
		c.add("starts over by a first knock: "+name(a, e.To), match, where, "goto "+enterChain(a, e.To))
		if where != "" {
			c.add(name(a, e.To)+": not here", match, "goto fall")
		}
	}
	c.add("starts over by a first knock?", "meta nfproto", f.String(), byPort, "vmap @starts"+digit(f))
}

// fallSet is one of the sets that each have one fall of a source.
func fallSet(f protocol.Family, i int) string { return fmt.Sprintf("%s%s.%d", fallPrefix, digit(f), i) }

// fall counts a fall to the root. Each fall adds the source to the first set that does
// not have it, for the ban's time; a fall that finds the source in all of them is one too many. So
// falls are counted over exactly that time. Of sets without room nothing is counted.
func (r *renderer) fall() {
	ban := r.want.Policy.Ban
	c := r.chain("fall")
	b := r.chain("ban")
	b.add("", rateLimit, report(backend.ReportBan, "", 0))
	for _, f := range r.families {
		var all []string
		for i := range ban.After - 1 {
			set := fallSet(f, i+1)
			all = append(all, saddr(f)+" @"+set)
			c.add(fmt.Sprintf("fall %d", i+1), fmt.Sprintf("%s != @%s add @%s { %s%s } goto other", saddr(f), set, set, saddr(f), timeout(ban.For)))
			b.add("count anew after the ban", remove(set, saddr(f)))
		}
		c.add(fmt.Sprintf("fall %d: ban", ban.After), "meta nfproto", f.String(), strings.Join(all, " "), "goto ban")
	}
	c.add("", "goto other")
	for _, f := range r.families {
		b.add("banned from now on", fmt.Sprintf("update @banned%s { %s%s }", digit(f), saddr(f), timeout(ban.For)))
	}
	b.add("", "goto gate")
}
