package doctor

import (
	"fmt"
	"slices"
	"strings"

	"knockkit/protocol"
)

// The words for packets behind the first.
const (
	droppedNext  = "connections to %s of profile %s are dropped from their second packet on, by %s"
	droppedReply = "answers from %s of profile %s are dropped, by %s"
)

// connection follows the packets behind the first of a lease holder's connection. Our rules let the
// first one in and leave the others, which conntrack calls established, to the host's rules: where
// those drop them, `knock` says open and the connection hangs.
func (b *book) connection(f *facts, p *protocol.Profile, packet packet, way fate) {
	isDrop := func(o outcome) bool { return o.verdict == drop && o.certain }
	if slices.ContainsFunc(way.before, isDrop) {
		return // no connection gets that far
	}
	for _, o := range way.partly {
		b.forwarded(f, p, packet, o)
	}
	k, hooks := packet.Knock, inwards
	if way.diverted != nil {
		b.forwarded(f, p, packet, *way.diverted)
		hooks = []int{ingress, prerouting}
	}
	for _, o := range f.Host.stops(packet.at(next), hooks) {
		if !slices.ContainsFunc(way.after, o.same) { // the remedy for the first packet is one for these too
			b.established(f, p, k, o, droppedNext)
		}
	}
	if way.diverted != nil {
		return
	}
	for _, o := range f.Host.stops(packet.at(reply), outwards) {
		b.established(f, p, k, o, droppedReply)
	}
}

// forwarded follows a connection to a container whose gate is in front of destination NAT. The
// interface on which it goes there is not known, so only certain outcomes count.
func (b *book) forwarded(f *facts, p *protocol.Profile, packet packet, o outcome) {
	to := o.rule.to
	if !to.known || f.isLocal(to) {
		return
	}
	k, inside := packet.Knock, packet.translated(to)
	var said []outcome
	for s, format := range []string{first: "", next: droppedNext, reply: droppedReply} {
		hooks := through
		if stage(s) != reply {
			hooks = through[2:] // it has passed NAT
		}
		stops := slices.DeleteFunc(f.Host.stops(inside.at(stage(s)), hooks), func(o outcome) bool { return !o.certain })
		for i := range stops {
			stops[i].terms = o.terms // all packets that go there stop
		}
		if stage(s) == first && len(stops) > 0 {
			port := protocol.PortRange{Proto: k.Proto, First: inside.Knock.Port, Last: inside.Knock.Port}
			b.after(f.Host, p, port, k, stops)
			return
		}
		for _, o := range stops {
			if !slices.ContainsFunc(said, o.same) {
				said = append(said, o)
				b.established(f, p, k, o, format)
			}
		}
	}
}

// same reports whether the same rule or policy decided.
func (o outcome) same(other outcome) bool { return o.chain == other.chain && o.rule == other.rule }

// established adds the finding for a rule that drops packets of a connection.
func (b *book) established(f *facts, p *protocol.Profile, k protocol.Knock, o outcome, format string) {
	b.addBy(f.Host.cause(o), o.severity(), IDDropped, p, k, format,
		"our rules let in the first packet of a connection and leave the others to the host's: `knock` says open, and the connection hangs",
		f.letEstablished(o))
}

// tracked reports whether conntrack has seen the packets that come to a hook point: its own priority
// is NF_IP_PRI_CONNTRACK, -200.
func (p hookPoint) tracked() bool {
	return p.hook != ingress && (p.hook != prerouting && p.hook != localOutput || p.priority > -200)
}

// letEstablished is the rule that lets packets of established connections past a rule or policy that
// drops them.
func (f *facts) letEstablished(o outcome) string {
	c := o.chain
	var line string
	switch {
	case !o.point.tracked():
		return "let these packets pass there: the chain comes before conntrack, so no rule in it can ask for what is established"
	case c.tool == nftTool && o.rule == nil:
		line = fmt.Sprintf("nft add rule %s %s ct state established accept", c.table, c.name)
	case c.tool == nftTool:
		line = fmt.Sprintf("nft insert rule %s %s handle %d ct state established accept", c.table, c.name, o.rule.handle)
	default:
		where := "-A " + c.name
		if o.rule != nil {
			where = fmt.Sprintf("-I %s %d", c.name, slices.Index(c.rules, o.rule)+1)
		}
		if c.table != "filter" {
			where = "-t " + c.table + " " + where
		}
		line = fmt.Sprintf("%s %s -m conntrack --ctstate ESTABLISHED -j ACCEPT", f.command(c), where)
	}
	return fmt.Sprintf("`%s`, and the same in the file that the rules come from", line)
}

// command is what to type for a chain of iptables.
func (f *facts) command(c *chain) string {
	name := "iptables"
	if c.tool != f.active {
		name = c.tool
	}
	if c.family == protocol.IPv6 {
		return strings.Replace(name, "ip", "ip6", 1)
	}
	return name
}
