package nftables

import (
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"knockkit/internal/kernel/backend"
	"knockkit/protocol"
)

// gates fills the maps of gated ports and the chains behind them.
func (r *renderer) gates() {
	r.closes()
	g := r.chain("gate")
	r.portMap(g, "gates", r.segments(atInput), func(s gateSegment) string { return r.gate("gate-", s) })
	for _, p := range r.profiles() {
		r.open(openPrefix, p, !beforeNAT(p), "accept")
	}
	if r.any(cuts) {
		r.cutChain("cut", r.segments(atInput))
	}
}

// cutChain fills the chain for established connections to ports of profiles with `cut`.
func (r *renderer) cutChain(name string, segments []gateSegment) {
	c := r.chain(name)
	segments = slices.DeleteFunc(segments, func(s gateSegment) bool {
		// The connection may be one of a profile without `cut`.
		return slices.ContainsFunc(s.Uses, func(p *protocol.Profile) bool { return !p.Cut })
	})
	r.portMap(c, name+"s", segments, r.cut)
	for i := range c.rules {
		c.rules[i].text = "ct direction original " + c.rules[i].text
	}
}

// atInput, early and cuts pick profiles: all of them have a gate at the input.
func atInput(*protocol.Profile) bool     { return true }
func beforeNAT(p *protocol.Profile) bool { return p.Place == protocol.PlacePrerouting }
func cuts(p *protocol.Profile) bool      { return p.Cut }

// gateSegment is a range of ports of one protocol that the same profiles open.
type gateSegment struct {
	backend.Segment[*protocol.Profile]
	proto protocol.Proto
}

// name is that of the chains for the segment. It names the ports, not the profiles: so an element
// that leads there stays when another profile opens the port too.
func (s gateSegment) name() string { return s.proto.String() + "-" + s.ports() }

// ports is the segment in the key of a map.
func (s gateSegment) ports() string {
	if s.First == s.Last {
		return strconv.Itoa(int(s.First))
	}
	return fmt.Sprintf("%d-%d", s.First, s.Last)
}

func (r *renderer) segments(which func(*protocol.Profile) bool) []gateSegment {
	var all []gateSegment
	for _, proto := range []protocol.Proto{protocol.TCP, protocol.UDP} {
		var ranges []backend.Range[*protocol.Profile]
		for _, p := range r.profiles() {
			for _, o := range p.Open {
				if o.Proto == proto && which(p) {
					ranges = append(ranges, backend.Range[*protocol.Profile]{First: o.First, Last: o.Last, Use: p})
				}
			}
		}
		for _, s := range backend.Segments(ranges) {
			s.Uses = slices.Compact(s.Uses)
			all = append(all, gateSegment{s, proto})
		}
	}
	return all
}

// portMap sends packets to the segments' chains. Single ports are in a hash map. Ranges are in a map
// of intervals, which costs a packet more, and is there only where there are ranges.
func (r *renderer) portMap(c *object, mapName string, segments []gateSegment, chainOf func(gateSegment) string) {
	var single, ranges []string
	for _, s := range segments {
		element := fmt.Sprintf("%s . %s : goto %s", s.proto, s.ports(), chainOf(s))
		if s.First == s.Last {
			single = append(single, element)
		} else {
			ranges = append(ranges, element)
		}
	}
	r.verdicts(mapName, byPort, single)
	c.add("gated?", byPort, "vmap @"+mapName)
	if len(ranges) > 0 {
		r.verdicts(mapName+rangesSuffix, byPort, ranges, "flags interval")
		c.add("gated, with a range of ports?", byPort, "vmap @"+mapName+rangesSuffix)
	}
}

// rangesSuffix ends the name of the map beside that of the single ports.
const rangesSuffix = "-ranges"

// gate fills the chain of the profiles that open a port: packets of a lease holder go on, others are
// shut out. The prefix says which of the two gates it is.
func (r *renderer) gate(prefix string, s gateSegment) string {
	c := r.chain(prefix + s.name())
	if len(c.rules) > 0 {
		return c.name
	}
	if r.want.Policy.Ban != nil { // whatever `closed` says
		for p, f := range r.gated(s.Uses) {
			c.add(p.Name+": banned", where(p, f), saddr(f), "@banned"+digit(f), "drop")
		}
	}
	for p, f := range r.gated(s.Uses) {
		r.leaseRules(c, p, f, s.proto, prefix == prePrefix)
	}
	for p, f := range r.gated(s.Uses) {
		if p.Closed != protocol.ClosedContinue {
			c.add("", where(p, f), "meta nfproto", f.String(), deniedLimit.match(), report(backend.ReportDenied, p.Name, 0))
		}
	}
	// The strictest first, where several profiles open the port.
	sorted := slices.Clone(s.Uses)
	slices.SortStableFunc(sorted, func(x, y *protocol.Profile) int { return int(x.Closed) - int(y.Closed) })
	verdicts := map[protocol.Closed]string{protocol.ClosedDrop: "drop", protocol.ClosedReject: reject(s.proto), protocol.ClosedContinue: "return"}
	for p, f := range r.gated(sorted) {
		c.add(p.Name+": closed", where(p, f), "meta nfproto", f.String(), verdicts[p.Closed])
	}
	return c.name
}

// leaseRules let a holder's packet go on if it begins a connection: a gate treats what is no event
// as a connection without a lease.
func (r *renderer) leaseRules(c *object, p *protocol.Profile, f protocol.Family, proto protocol.Proto, pre bool) {
	match, ok := from(p, f)
	if !ok {
		return
	}
	where := where(p, f)
	begins, open := "fib daddr type local", "goto "+openPrefix+p.Name
	if proto == protocol.TCP {
		begins = isSYN
	}
	switch {
	case pre && p.Once: // the gate at the input asks for that
		open = fmt.Sprintf("update @%s { %s%s } goto %s", passedSet(p, f), saddr(f), timeout(time.Second), preOpenPrefix+p.Name)
	case pre:
		open = "goto " + preOpenPrefix + p.Name
	case p.Once && beforeNAT(p):
		// It has just used up a lease at the gate before NAT. A packet that NAT sends here may have met no gate on its way.
		c.add(p.Name+": passed the gate before NAT", where, begins, saddr(f), "@"+passedSet(p, f), remove(passedSet(p, f), saddr(f)), open)
	}
	if p.Once && p.Closed != protocol.ClosedContinue {
		// All packets of a connection are new until it is answered. The first one has used the lease
		// up, and since then conntrack has the flow confirmed. Packets over loopback are confirmed
		// before they come in.
		c.add(p.Name+": the connection that used the lease", where, "meta nfproto", f.String(), `iif != "lo" ct state new,related ct status confirmed`, begins, open)
	}
	for _, bits := range r.hand[leaseKey(p, f)] {
		c.add(p.Name+": a lease given by hand", where, match, begins, keyOf(bits, f), "@"+r.versions.given(p, f, bits), open)
	}
	set := r.versions.lease(p, f)
	lease := fmt.Sprintf("%s @%s", key(p, f), set)
	switch {
	case p.Once:
		if proto == protocol.TCP {
			c.add(p.Name+": the SYN that used the lease, again", where, saddr(f), "@"+usedSet(p, f), begins, unanswered, open)
		}
		use := fmt.Sprintf("update @%s { %s%s }", usedSet(p, f), saddr(f), timeout(backend.HandshakeTime))
		keep := strings.Join(r.removeKept(p, f), " ")
		c.add(p.Name+": a lease, for one connection", where, match, begins, lease, takeOnce(p, f), remove(set, key(p, f)), keep, use, open)
	case p.Renew && p.Lease > 0:
		c.add(p.Name+": a lease, which starts again", where, match, begins, lease, fmt.Sprintf("update @%s { %s%s }", set, key(p, f), timeout(p.Lease)), open)
	default:
		c.add(p.Name+": a lease", where, match, begins, lease, open)
	}
}

// takeOnce lets one of several packets go on that find a lease of `once` in the same moment, on
// several processors: a deletion does not say whether there was something to delete. The limit lasts
// a second, as a lease given by hand may follow at once; a knock ends it.
func takeOnce(p *protocol.Profile, f protocol.Family) string {
	return fmt.Sprintf("add @%s { %s%s limit rate 100/second burst 1 packets }", takenSet(p, f), key(p, f), timeout(time.Second))
}

// openPrefix begins the names of the chains with a profile's extra rules.
const openPrefix = "open-"

// open fills the chain that lets a connection in, or on to the next gate. own says that the
// profile's own rules are run first, which is done at one of its gates.
func (r *renderer) open(prefix string, p *protocol.Profile, own bool, verdict string) {
	c := r.chain(prefix + p.Name)
	if own {
		for _, body := range p.Opened.NFTables {
			c.add("", body)
		}
	}
	c.add(p.Name+": open", verdict)
}

// closes fills the map of the close knocks, and the chain for packets that are no first knock and
// make nobody start over.
func (r *renderer) closes() {
	other := r.chain("other")
	var elements []string
	for _, p := range slices.Concat(r.profiles(), r.kept.profiles) {
		if p.Close == nil {
			continue
		}
		installed := protocol.Find(r.profiles(), p.Name) == p
		name := fmt.Sprintf("close-%s-%d", p.Close.Proto, p.Close.Port)
		if r.byName[name] == nil && p.Close.Proto != protocol.ICMP {
			elements = append(elements, portKey(*p.Close)+" : jump "+name)
		}
		c := r.chain(name)
		for _, f := range r.gated([]*protocol.Profile{p}) {
			if installed {
				sets := []string{r.versions.lease(p, f)}
				if slices.Contains(r.hand[leaseKey(p, f)], p.Prefix(f)) { // the lease of a wider prefix has other holders too
					sets = append(sets, r.versions.given(p, f, p.Prefix(f)))
				}
				for _, set := range sets {
					c.add("", where(p, f), key(p, f), "@"+set, report(backend.ReportClose, p.Name, 0))
					c.add(p.Name+": lease given back", where(p, f), remove(set, key(p, f)))
				}
			}
			for _, kept := range r.removeKept(p, f) {
				c.add(p.Name+": lease given back, for an undo", where(p, f), kept)
			}
			if p.Close.Proto == protocol.ICMP {
				other.add("gives a lease back", echo(f), "jump "+c.name)
			}
		}
	}
	if len(elements) > 0 {
		r.verdicts("closes", byPort, elements)
		other.add("gives a lease back?", byPort, "vmap @closes")
	}
	other.add("", "goto gate")
}

// cut ends an established connection whose lease is over.
func (r *renderer) cut(s gateSegment) string {
	c := r.chain("cut-" + s.name())
	if len(c.rules) > 0 {
		return c.name
	}
	for p, f := range r.gated(s.Uses) {
		c.add(p.Name+": the lease goes on", where(p, f), key(p, f), "@"+r.versions.lease(p, f), "return")
		for _, bits := range r.hand[leaseKey(p, f)] {
			c.add(p.Name+": the lease goes on", where(p, f), keyOf(bits, f), "@"+r.versions.given(p, f, bits), "return")
		}
	}
	verdict := "drop"
	if s.proto == protocol.TCP {
		// The client learns at once that its connection has ended, and its own reset
		// has to reach the server, or only one side would end.
		verdict = reject(s.proto)
		c.add("", "tcp flags & rst != 0 return")
	}
	for p, f := range r.gated(s.Uses) {
		c.add(p.Name+": cut", where(p, f), "meta nfproto", f.String(), verdict)
	}
	return c.name
}

// gated yields profiles with the families in which they have a gate.
func (r *renderer) gated(profiles []*protocol.Profile) iter.Seq2[*protocol.Profile, protocol.Family] {
	return func(yield func(*protocol.Profile, protocol.Family) bool) {
		for _, p := range profiles {
			for _, f := range r.families {
				if p.In(f) && !yield(p, f) {
					return
				}
			}
		}
	}
}

// where matches the packets of a profile's scope.
func where(p *protocol.Profile, f protocol.Family) string { return scope(p.ScopeIn(f), f) }

func (r *renderer) any(which func(*protocol.Profile) bool) bool {
	return slices.ContainsFunc(r.profiles(), which)
}
