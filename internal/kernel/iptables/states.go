package iptables

import (
	"slices"

	"knockkit/internal/kernel/backend"
	"knockkit/protocol"
)

// progressChain fills KNOCKD-PROGRESS: which position is the source in? It is in one at most, apart
// from those whose time is over.
func (r *renderer) progressChain() {
	c := r.out.newChain(chainProgress)
	r.eachState(func(i int) {
		s := &r.Automaton.States[i]
		limit := "no limit"
		if s.Within != 0 {
			limit = "next within " + s.Within.String()
		}
		c.add(r.state(i).within(s.Within), comment("%s, %s", r.Automaton.StateName(i), limit), goTo+r.nextChain(i))
	})
	r.toPorts(c)
}

// next fills KNOCKD-NEXT-…: what may come next in state i. Every event but a repeat of the knock
// leaves the state, and one packet only: of two that come in the same moment on two processors, the
// second finds the position gone. It is no knock, as if the network had delivered one twice; at a
// gate it is a connection like any other.
func (r *renderer) next(i int) {
	s := &r.Automaton.States[i]
	c := r.out.newChain(r.nextChain(i))
	for _, in := range scope(s.Scope) {
		c.add(in, r.knock(s.Last()), comment("%s: the same knock again", r.Automaton.StateName(i)), goTo+r.stayChain(i))
	}
	c.add(r.state(i).left(), comment("%s: another packet was faster", r.Automaton.StateName(i)), goTo+chainLate)
	for _, e := range slices.Concat(s.Edges, s.Suffix) {
		for _, in := range scope(r.Automaton.States[e.To].Scope) {
			c.add(in, r.knock(e.Knock), comment("right knock: %s", r.Automaton.StateName(e.To)), goTo+r.enterChain(e.To))
		}
	}
	first := s.Users[0]
	c.add(rateLimit, report(backend.ReportReset, first.Profile.Name, first.Step))
	c.add(comment("%s: anything else starts over", r.Automaton.StateName(i)), goTo+chainOver)
}

// step adds the rules that send a first knock to its state.
func (r *renderer) step(c *chain, match string, to int) {
	for _, ru := range r.stepRules(to) {
		c.add(append(rule{match}, ru...)...)
	}
}

func (r *renderer) stepRules(to int) []rule {
	var rules []rule
	for _, in := range scope(r.Automaton.States[to].Scope) {
		rules = append(rules, rule{in, comment("first knock: %s", r.Automaton.StateName(to)), goTo + r.enterChain(to)})
	}
	return rules
}

// enter fills KNOCKD-ENTER-…: a source enters state i. It grants, once per entry, and then writes
// the position. A repeat of the knock writes the position too (KNOCKD-STAY-… where entering grants).
func (r *renderer) enter(i int) {
	s := &r.Automaton.States[i]
	c := r.out.newChain(r.enterChain(i))
	first := s.Users[0]
	c.add(rateLimit, report(backend.ReportKnock, first.Profile.Name, first.Step))
	for _, p := range s.Grants {
		r.grant(c, p)
	}
	if s.Keep == i && len(s.Grants) > 0 {
		stay := r.out.newChain(r.stayChain(i))
		c.add(goTo + stay.Name)
		c = stay
	}
	if s.Keep == protocol.Root {
		c.add(r.progress().remove(), comment("%s: nothing comes after it", r.Automaton.StateName(i)))
	} else {
		c.add(r.state(s.Keep).set(), comment("now at %s", r.Automaton.StateName(s.Keep)))
		c.add(r.progress().set(), comment("now in a position"))
	}
	r.reply(c, s)
}

// grant writes the source into the tables of the profile's leases.
func (r *renderer) grant(c *chain, p *protocol.Profile) {
	for _, from := range r.sources(p) {
		c.add(from, report(backend.ReportGrant, p.Name, 0))
		c.add(from, r.lease(p).set(), comment("%s: opened", p.Name))
		if table, ok := r.sharedTable(p); ok {
			c.add(from, table.set(), comment("%s: ask for its lease", p.Name))
		}
	}
}

// reply answers a right knock. ReplyContinue leaves our chains, since every step since KNOCKD was a
// goto: the host's rules treat the packet like any other.
func (r *renderer) reply(c *chain, s *protocol.State) {
	verdict := ""
	switch s.Reply {
	case protocol.ReplyContinue:
		return
	case protocol.ReplyAccept:
		verdict = "-j ACCEPT"
	case protocol.ReplyDrop:
		verdict = "-j DROP"
	case protocol.ReplyReject:
		verdict = r.reject(s.Last().Proto)
	}
	for _, u := range s.Users {
		for _, from := range r.sources(u.Profile) {
			c.add(from, r.proto(s.Last().Proto), comment("%s: reply %s", u, s.Reply), verdict)
		}
	}
}

func (r *renderer) nextChain(i int) string  { return r.stateChain(prefixNext, i) }
func (r *renderer) enterChain(i int) string { return r.stateChain(prefixEnter, i) }

// stayChain is where a repeated knock goes: to the chain of the first one, unless that grants.
func (r *renderer) stayChain(i int) string {
	if len(r.Automaton.States[i].Grants) == 0 {
		return r.enterChain(i)
	}
	return r.stateChain(prefixStay, i)
}

func (r *renderer) stateChain(prefix string, i int) string {
	u := r.Automaton.States[i].Users[0]
	return chainName(prefix, u.Profile.Name, u.Step)
}
