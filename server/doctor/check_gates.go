package doctor

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"knockkit/protocol"
	"knockkit/server"
)

// gates follows the first packet of a connection to every gated port, past our rules.
func gates(f *facts) *book {
	b := &book{}
	for _, p := range f.profiles() {
		for _, family := range protocol.Families() {
			if !p.In(family) {
				continue
			}
			for _, open := range p.Open {
				for _, port := range slices.Compact([]uint16{open.First, open.Last}) {
					k := protocol.Knock{Proto: open.Proto, Port: port}
					packet := f.packet(p, family, k)
					way := f.wayTo(p, packet)
					b.gate(f, p, packet, way)
					b.after(f.Host, p, open, k, way.after)
					b.connection(f, p, packet, way)
					b.neighbours(f, p, packet)
				}
			}
		}
	}
	return b
}

// wayTo is the fate of a packet up to the profile's gate, and behind it. A packet that passes a gate
// before destination NAT and is not translated comes to the gate at the input too.
func (f *facts) wayTo(p *protocol.Profile, packet packet) fate {
	way := f.Host.follow(packet, f.Us)
	if p.Place == protocol.PlacePrerouting {
		early := f.Host.follow(packet, f.Us.early())
		if early.diverted != nil {
			return fate{before: early.before, diverted: early.diverted, partly: early.partly}
		}
		way.partly = early.partly
		// A packet that is sent elsewhere between the two gates has passed the first. A packet that
		// is accepted in front of one of them only is shut out by the other.
		accepted := func(o outcome) bool { return o.verdict == accept }
		diverted := func(o outcome) bool { return o.verdict == divert }
		atBoth := slices.ContainsFunc(early.before, accepted)
		if !slices.ContainsFunc(way.before, func(o outcome) bool { return accepted(o) || diverted(o) }) {
			early.before = slices.DeleteFunc(early.before, accepted)
		}
		way.before = slices.DeleteFunc(way.before, func(o outcome) bool { return diverted(o) || accepted(o) && !atBoth })
		way.before = append(early.before, way.before...)
	}
	// A packet that is sent to another port of this host comes to the gate of that port.
	gated := func(o outcome) bool { return o.verdict == divert && f.gatesLocal(packet, o.rule.to) }
	way.before = slices.DeleteFunc(way.before, gated)
	return way
}

// gatesLocal reports whether a rule sends the packet to a port of this host that has a
// gate of its own at the input.
func (f *facts) gatesLocal(packet packet, to destination) bool {
	k := packet.Knock
	if to.port != 0 {
		k.Port = to.port
	}
	return f.isLocal(to) && slices.ContainsFunc(f.profiles(), func(p *protocol.Profile) bool {
		return p.In(packet.Family) && p.Opens(k) && p.Interface == "" && len(p.To) == 0
	})
}

func (f *facts) isLocal(to destination) bool {
	here := func(l server.Link) bool { return slices.Contains(l.Addrs, to.addr) }
	return to.known && (!to.addr.IsValid() || to.addr.IsLoopback() || slices.ContainsFunc(f.Network.Links, here))
}

func (b *book) gate(f *facts, p *protocol.Profile, packet packet, way fate) {
	k := packet.Knock
	for _, o := range way.before {
		switch {
		case o.verdict == divert:
			why, todo := f.published(o)
			// Also where only some strangers' packets go elsewhere: the port is open to those.
			b.add(Broken, IDPublished, p, k, o, "%s of profile %s goes elsewhere before the gate, by %s", why, todo)
		case o.verdict == accept:
			b.add(o.severity(), IDBypass, p, k, o, "%s of profile %s is accepted before the gate, by %s",
				"who matches that rule needs no knock",
				"delete the rule, or put it behind the jump to KNOCKD: knockd install puts the jump first")
		case o.certain:
			b.add(Broken, IDDropped, p, k, o, "%s of profile %s is dropped before the gate, by %s",
				"nobody gets in, with a lease or without", "accept the port there, or delete the rule: the gate closes it by itself")
		}
	}
	if p.Closed == protocol.ClosedContinue && !closes(way) && !f.blind {
		b.add(Broken, IDNoGate, p, k, outcome{}, "%s of profile %s is open to all",
			`the profile says closed = "continue", and no rule of the host closes the port`,
			`set closed = "drop" or "reject" in the profile, or a policy of DROP`)
	}
}

// neighbours is about a port that is published on 127.0.0.1. Destination NAT comes before the kernel
// drops packets to that address from outside (over IPv6 it drops them first), so anybody on the same
// network can reach the port.
func (b *book) neighbours(f *facts, p *protocol.Profile, packet packet) {
	if packet.Family != protocol.IPv4 || p.Place == protocol.PlacePrerouting || len(p.To) > 0 {
		return
	}
	before := func(to ...netip.Addr) []outcome {
		packet.network.addresses, packet.network.aside = to, nil
		return f.Host.follow(packet, f.Us).before
	}
	ofStrangers := map[*rule]bool{}
	for _, o := range before(packet.network.addresses...) {
		ofStrangers[o.rule] = true
	}
	for _, o := range before(netip.AddrFrom4([4]byte{127, 0, 0, 1})) {
		switch {
		case o.verdict == drop && o.certain:
			return
		case o.verdict == divert && !f.isLocal(o.rule.to) && !ofStrangers[o.rule]:
			b.add(Note, IDPublished, p, packet.Knock, o, "%s of profile %s is published on 127.0.0.1, by %s",
				"a neighbour on the same network who sends packets for 127.0.0.1 to this host needs no knock: the rule is asked before the kernel drops them",
				`where neighbours are strangers, set place = "prerouting" in the profile; Docker 28 and later drops such packets itself`)
		}
	}
}

// published says why it matters that a port goes elsewhere, and what to do.
func (f *facts) published(o outcome) (why, todo string) {
	why = "the packets do not pass INPUT, so no knock is needed: this is how containers publish ports"
	or := "publish the port on 127.0.0.1 only (docker run -p 127.0.0.1:PORT:PORT)"
	if f.isLocal(o.rule.to) {
		why = "the packets come to INPUT with a port that has no gate, so no knock is needed"
		or = "open the other port in the profile too"
	}
	return why, `set place = "prerouting" in the profile, so that the gate stands in front of that rule; or ` + or
}

// after is about the rules that a packet meets behind our gate.
func (b *book) after(h host, p *protocol.Profile, open protocol.PortRange, k protocol.Knock, met []outcome) {
	for _, o := range met {
		e := b.addBy(h.cause(o), o.severity(), IDDropped, p, k, "%s of profile %s is dropped behind the gate, by %s",
			"an accept of ours is not the last word there: a lease opens nothing", "")
		if !slices.Contains(e.ranges, open) {
			e.ranges = append(e.ranges, open)
		}
		e.todo = letThrough(h.manager(o.chain), o.chain, e.ranges)
	}
}

// closes reports whether the host's own rules shut out a packet that our gate lets go on (closed =
// "continue"). Where they perhaps do, that is the operator's business.
func closes(way fate) bool {
	dropped := func(o outcome) bool { return o.verdict == drop }
	return slices.ContainsFunc(slices.Concat(way.before, way.after, ends(way.rest)), dropped)
}

func (o outcome) severity() Severity {
	if o.certain {
		return Broken
	}
	return Warning
}

// String names the rule that decided, or the chain's policy.
func (o outcome) String() string {
	if o.rule == nil {
		return "the policy of " + o.chain.String()
	}
	return fmt.Sprintf("%q in %s", o.rule.text, o.chain)
}

// cause is the rule or policy that decided, for which packets, and the tool that wrote it.
func (h host) cause(o outcome) string {
	text := o.String() + o.terms.String()
	if m := h.manager(o.chain); m != nobody {
		text = fmt.Sprintf("%s: %s", m, text)
	}
	return text
}

// book collects findings: one for each rule and profile, with all ports.
type book struct {
	entries []*entry
	found   map[entryID]*entry
	counted bool // the words say how many ports, not which: knocks are secrets
}

// entryID identifies a finding that several ports share.
type entryID struct {
	id, profile, by, format string
	severity                Severity
}

type entry struct {
	entryID
	why, todo string
	ports     []string
	closes    bool                 // the close knock is among the ports
	ranges    []protocol.PortRange // as the profile has them, for the advice
}

// add adds a port to the finding that a rule causes. The format takes the ports, the profile, and
// the rule, if there is one.
func (b *book) add(s Severity, id string, p *protocol.Profile, k protocol.Knock, o outcome, format, why, todo string) {
	by := ""
	if o.chain != nil {
		by = o.String() + o.terms.String()
	}
	b.addBy(by, s, id, p, k, format, why, todo)
}

// addBy is add with the cause in words.
func (b *book) addBy(by string, s Severity, id string, p *protocol.Profile, k protocol.Knock, format, why, todo string) *entry {
	key := entryID{id, p.Name, by, format, s}
	e := b.found[key]
	if e == nil {
		e = &entry{entryID: key, why: why, todo: todo}
		if b.found == nil {
			b.found = map[entryID]*entry{}
		}
		b.found[key], b.entries = e, append(b.entries, e)
	}
	if !slices.Contains(e.ports, k.String()) {
		e.ports = append(e.ports, k.String())
	}
	e.closes = e.closes || p.Close != nil && *p.Close == k
	return e
}

// say is the finding in words.
func (b *book) say(e *entry) Finding {
	ports := strings.Join(e.ports, ", ")
	if b.counted {
		switch n := len(e.ports); {
		case e.closes && n == 1:
			ports = "its close knock"
		case e.closes:
			ports = fmt.Sprintf("%d of its knocks (the close knock included)", n)
		default:
			ports = fmt.Sprintf("%d of its knocks", n)
		}
	}
	args := []any{ports, e.profile}
	if e.by != "" {
		args = append(args, e.by)
	}
	return Finding{e.id, e.severity, fmt.Sprintf(e.format, args...), e.why, e.todo}
}
