package nftables

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"knockkit/internal/kernel/backend"
	"knockkit/protocol"
)

// states fills the chains that a right knock leads to. A chain serves both families: its rules ask
// for the source, which is of one.
func (r *renderer) states() {
	r.eachState(r.enter)
	// The rules that both families share come once, behind those of each.
	done := map[string]bool{}
	r.eachState(func(a *protocol.Automaton, i int) {
		if !done[enterChain(a, i)] {
			done[enterChain(a, i)] = true
			r.finish(a, i)
		}
	})
	r.eachState(r.reply)
}

// eachState calls do for the states of both families that a knock leads to.
func (r *renderer) eachState(do func(a *protocol.Automaton, i int)) {
	for _, f := range r.families {
		a := r.want.Of(f)
		for i := range a.States {
			if i != protocol.Root {
				do(a, i)
			}
		}
	}
}

// stays lists the states in which a source can stay.
func stays(a *protocol.Automaton) (all []int) {
	for i := range a.States {
		if i != protocol.Root && a.Stays(i) {
			all = append(all, i)
		}
	}
	return all
}

// enter grants, once per entry, and writes the new position.
func (r *renderer) enter(a *protocol.Automaton, i int) {
	s := &a.States[i]
	c := r.chain(enterChain(a, i))
	if len(c.rules) == 0 {
		first, limit := s.Users[0], rateLimit
		if first.Step == 1 {
			limit = firstLimit.match()
		}
		c.add("", limit, report(backend.ReportKnock, first.Profile.Name, first.Step))
	}
	for _, p := range s.Grants {
		if match, ok := from(p, a.Family); ok {
			r.grant(c, p, a.Family, cmp.Or(match, "meta nfproto "+a.Family.String()))
		}
	}
	r.setPosition(c, a, i)
}

// grant gives the source of a packet that matches a lease.
func (r *renderer) grant(c *object, p *protocol.Profile, f protocol.Family, match string) {
	c.add("", match, report(backend.ReportGrant, p.Name, 0))
	if p.Once {
		c.add(p.Name+": not taken yet", match, remove(takenSet(p, f), key(p, f)))
	}
	c.add(p.Name+": opened", match, "update @"+r.versions.lease(p, f), "{", key(p, f)+timeout(p.Lease), "}")
}

// setPosition writes the position into the map. An update alone would renew the time and keep the
// old state, so the old element is deleted first.
//
// A repeated knock only renews the time: the kernel marks a deleted element as dead, sweeps the dead
// away once a second, and until then takes some dozens for one source at most.
func (r *renderer) setPosition(c *object, a *protocol.Automaton, i int) {
	f, keep := a.Family, a.States[i].Keep
	forget := fmt.Sprintf("delete @position%s { %s : none }", digit(f), saddr(f))
	if keep == protocol.Root {
		c.add(name(a, i)+": nothing comes after it", forget)
		return
	}
	n := r.number(a, keep)
	comment := fmt.Sprintf("%s%s %s", positionComment, n, name(a, keep))
	update := fmt.Sprintf("update @position%s { %s%s : %s }", digit(f), saddr(f), timeout(stay(&a.States[keep])), n)
	if keep != i {
		c.add(comment, forget, update)
		return
	}
	c.add("", forget)
	r.chain(stayChain(a, i)).add(comment, update)
}

// stay is how long a source stays in a position. Where the profile sets no limit it is a day: all
// positions are in one map, and sources that never leave would fill it for ever.
func stay(s *protocol.State) time.Duration {
	if s.Within == 0 {
		return protocol.MaxWithin
	}
	return s.Within
}

// positionComment begins the comment from which a position's number is read back.
const positionComment = "now at "

// finish resets the scratch register. A source may stay in the state in one family only; packets of
// the other family pass through that chain for this too.
func (r *renderer) finish(a *protocol.Automaton, i int) {
	if last := r.last(a, i); last.name != enterChain(a, i) {
		r.chain(enterChain(a, i)).add("", "goto "+last.name)
	}
	r.last(a, i).add("", scratch+" set none")
}

// last is the chain in which a right knock ends.
func (r *renderer) last(a *protocol.Automaton, i int) *object {
	if stay := r.byName[stayChain(a, i)]; stay != nil {
		return stay
	}
	return r.chain(enterChain(a, i))
}

// reply answers a right knock. With "continue" the host's own tables treat the
// packet like any other.
func (r *renderer) reply(a *protocol.Automaton, i int) {
	s := &a.States[i]
	if s.Reply == protocol.ReplyContinue {
		return
	}
	verdicts := map[protocol.Reply]string{protocol.ReplyAccept: "accept", protocol.ReplyDrop: "drop", protocol.ReplyReject: reject(s.Last().Proto)}
	for _, u := range s.Users {
		if match, ok := from(u.Profile, a.Family); ok {
			match = cmp.Or(match, "meta nfproto "+a.Family.String())
			r.last(a, i).add(fmt.Sprintf("%s: reply %s", u, s.Reply), match, verdicts[s.Reply])
		}
	}
}

// reject answers as a host does where nothing listens.
func reject(proto protocol.Proto) string {
	if proto == protocol.TCP {
		return "reject with tcp reset"
	}
	return "reject with icmpx type port-unreachable"
}

// key is the source as the profile's lease sets have it.
func key(p *protocol.Profile, f protocol.Family) string { return keyOf(p.Prefix(f), f) }

// keyOf is the first bits of the source.
func keyOf(bits int, f protocol.Family) string {
	if bits == f.Bits() {
		return saddr(f)
	}
	return saddr(f) + " & " + f.Netmask(bits)
}

// remove takes a packet's key out of a set, whether it is there or not.
func remove(set, key string) string { return fmt.Sprintf("delete @%s { %s }", set, key) }

func enterChain(a *protocol.Automaton, i int) string { return "enter-" + stateLabel(a, i) }

// stayChain is where a repeated knock goes: behind the grants. It is there where a source can stay
// in the state.
func stayChain(a *protocol.Automaton, i int) string { return "stay-" + stateLabel(a, i) }

// stateLabel names a state after the first profile whose sequence passes it, in either family.
func stateLabel(a *protocol.Automaton, i int) string {
	u := a.States[i].Users[0]
	return fmt.Sprintf("%s.%d", u.Profile.Name, u.Step)
}

// name says in whose sequences a state is, short enough for a comment.
func name(a *protocol.Automaton, i int) string {
	text := a.StateName(i)
	if len(text) <= maxComment/2 {
		return text
	}
	text = text[:maxComment/2]
	return text[:strings.LastIndex(text, ",")] + ", …"
}
