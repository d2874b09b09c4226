package doctor

import "slices"

// outcome is what a chain does with a packet. If it is not certain, the terms say with which packets
// of that kind.
type outcome struct {
	verdict verdict // accept, drop, divert, untrack or ours
	chain   *chain
	rule    *rule     // nil: the chain's policy
	point   hookPoint // of the chain that the kernel called
	terms   terms
	certain bool
	tie     bool // only if this chain comes before ours, which has the same hook point
}

// maxDepth is how deep chains may jump to each other: more than the kernel allows.
const maxDepth = 32

// walk follows a packet through a chain that the kernel calls. The last outcome is what happens
// unless one before it did.
func (h host) walk(c *chain, p packet) []outcome {
	w := walker{host: h, packet: p, point: c.point}
	var come terms
	if c.device != nil {
		switch c.device.is(p) {
		case no:
			return nil
		case perhaps:
			come.only = []string{c.device.words}
		}
	}
	if !w.through(c, come, 0) {
		w.add(c, nil, c.policy, come)
	}
	return w.found
}

type walker struct {
	host   host
	packet packet
	point  hookPoint
	found  []outcome
}

func (w *walker) add(c *chain, r *rule, v verdict, t terms) {
	w.found = append(w.found, outcome{verdict: v, chain: c, rule: r, point: w.point, terms: t, certain: t.certain()})
}

// through follows the packet through a chain that it has come to on some terms. It reports whether a
// packet that comes here never leaves.
func (w *walker) through(c *chain, come terms, depth int) (ends bool) {
	here, all := come, true // all that came here are still in this chain
	for _, r := range c.rules {
		a, only := r.match(w.packet)
		if a == no {
			continue
		}
		on := here.and(only)
		switch r.verdict {
		case goOn:
		case untrack:
			w.add(c, r, r.verdict, on)
		case ours, accept, drop, divert:
			if r.verdict == ours && w.packet.stage != first {
				continue // our rules return established packets
			}
			w.add(c, r, r.verdict, on)
			if a == yes {
				return all
			}
		case back:
			if a == yes {
				return false
			}
			here, all = here.without(terms{only: only}), false
		case jump, jumpAway:
			callee := w.host.callee(c, r.target)
			if callee == nil {
				continue // a target that decides nothing, as LOG
			}
			if depth == maxDepth {
				here, all = here.without(terms{only: []string{"go round in " + r.target}}), false
				continue
			}
			ended := w.through(callee, on, depth+1)
			switch {
			case a == yes && (ended || r.verdict == jumpAway):
				return ended && all
			case r.verdict == jumpAway:
				here, all = here.without(terms{only: only}), false
			}
		}
	}
	return false
}

// fate is what happens to a packet before our rules, and behind them.
type fate struct {
	before    []outcome // outcomes that keep it from our rules: drop, divert; accept where that is final
	after     []outcome // outcomes for a packet that we accept: the last of each chain is its end
	rest      []outcome // outcomes in the same chain for a packet that we let go on
	untracked []outcome
	diverted  *outcome  // the outcome that certainly sends it elsewhere behind us, before the input
	partly    []outcome // outcomes that send some of its kind elsewhere there
}

// site is where our rules are.
type site struct {
	tool  string // of the chain that jumps to us; nftTool for our own table
	table string // of iptables
	point hookPoint
}

// early is where gates before destination NAT are.
func (s site) early() site { return site{s.tool, "mangle", builtin("mangle", "PREROUTING")} }

// follow follows a packet past our rules. Where they are not installed, it takes them for where an
// install would put them: first in their chain.
func (h host) follow(p packet, us site) fate {
	var f fate
	for _, c := range h.stations(p, inwards) {
		own := us.tool != nftTool && c.tool == us.tool && c.table == us.table && c.point == us.point
		found := h.walk(c, p)
		for _, o := range found {
			if o.verdict == untrack {
				f.untracked = append(f.untracked, o)
			}
		}
		switch {
		case own:
			f.before = append(f.before, beforeUs(c, found)...)
			f.rest = h.walkBehind(c, p)
		case c.point.compare(us.point) < 0:
			f.before = append(f.before, keepsAway(found)...)
		case c.point == us.point:
			for _, o := range keepsAway(found) { // the kernel puts a chain in front of those that have its priority already
				if o.certain {
					o.certain, o.tie = false, true
					f.before = append(f.before, o)
				}
			}
			f.after = append(f.after, ends(found)...)
		default:
			f.after = append(f.after, ends(found)...)
			for i, o := range found {
				switch {
				case o.verdict != divert || f.diverted != nil:
				case o.certain:
					f.diverted = &found[i]
				default:
					f.partly = append(f.partly, o)
				}
			}
		}
	}
	return f
}

// stops returns the outcomes that drop a packet on its way past the hooks, without our rules.
func (h host) stops(p packet, hooks []int) (all []outcome) {
	for _, c := range h.stations(p, hooks) {
		all = append(all, ends(h.walk(c, p))...)
	}
	return all
}

// beforeUs returns the outcomes of rules in front of our jump: an accept there ends the chain.
// Without a jump there are none.
func beforeUs(c *chain, found []outcome) (all []outcome) {
	if !slices.ContainsFunc(c.rules, (*rule).isOurs) {
		return nil
	}
	for _, o := range found {
		if o.verdict == ours || o.rule == nil {
			break
		}
		if o.verdict == accept || o.verdict == drop {
			all = append(all, o)
		}
	}
	return all
}

func (r *rule) isOurs() bool { return r.verdict == ours }

// walkBehind follows a packet from behind our jump to the end of the chain.
func (h host) walkBehind(c *chain, p packet) []outcome {
	tail := *c
	for i, r := range c.rules {
		if r.verdict == ours {
			tail.rules = c.rules[i+1:]
		}
	}
	return h.walk(&tail, p)
}

// keepsAway returns the outcomes that keep a packet in a chain before ours from us. An accept ends
// that chain only.
func keepsAway(found []outcome) (all []outcome) {
	var left terms
	for _, o := range found {
		switch o.verdict {
		case accept:
			left = left.without(o.terms)
		case drop, divert:
			all = append(all, o.but(left))
		}
	}
	return all
}

// but narrows an outcome to the packets that rules before it have not accepted.
func (o outcome) but(left terms) outcome {
	o.terms = terms{joined(o.terms.only, left.only), joined(o.terms.unless, left.unless)}
	o.certain = o.terms.certain()
	return o
}

// ends returns a chain's certain end where that is a drop, without the packets that a rule before it
// accepts.
func ends(found []outcome) []outcome {
	var left terms
	for _, o := range found {
		if o.verdict == accept && !o.certain {
			left = left.without(o.terms)
		}
		if o.certain && o.verdict == drop {
			return []outcome{o.but(left)}
		}
	}
	return nil
}
