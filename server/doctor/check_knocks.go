package doctor

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"knockkit/internal/kernel/conns"
	"knockkit/protocol"
	"knockkit/server"
)

// knocks follows every knock to our rules, and says which knocks other rules drop before. It names
// them: doctor is for the operator, who knows them.
func knocks(f *facts) *book {
	b := &book{}
	for _, p := range f.profiles() {
		for _, family := range protocol.Families() {
			if !p.OpensIn(family) {
				continue
			}
			all := p.Knocks()
			opening := len(all)
			if p.Close != nil {
				all = append(all, *p.Close)
			}
			for i, k := range all {
				lost := "the sequence cannot be completed: nobody gets in"
				switch {
				case i == opening:
					lost = "nobody can give a lease back"
				case p.Signed != nil:
					lost = "no token arrives: nobody gets in"
				}
				for _, o := range f.Host.follow(f.packet(p, family, k), f.Us).before {
					switch {
					case o.tie:
						b.add(Broken, IDUnheard, p, k, o, "profile %[2]s hears %[1]s only while our rules are in front of %[3]s",
							"both have the same priority, so the one loaded last comes first: which it is now is not known, and with each reload of that chain knocking ends",
							later(f.Us))
					case o.certain:
						b.add(Broken, IDUnheard, p, k, o, "profile %[2]s does not hear %[1]s, dropped before our rules by %[3]s",
							lost,
							"let the knock pass there, or choose another port for it")
					}
				}
			}
		}
	}
	return b
}

// later says how to put our rules in front of a chain that has their priority.
func later(us site) string {
	todo := "give that chain a later priority (`priority filter + 10`)"
	if us.tool != nftTool {
		todo += ", or set backend = \"nftables\" in knockd.toml: our chain is then before it"
	}
	return todo
}

// untracked is about connections that rules take away from conntrack. Our gate cannot know those as
// established: a later TCP packet is a stray one to it, and a later datagram a first one.
func untracked(f *facts) *book {
	b := &book{}
	for _, p := range f.profiles() {
		for _, family := range protocol.Families() {
			if !p.In(family) {
				continue
			}
			for _, open := range p.Open {
				k := protocol.Knock{Proto: open.Proto, Port: open.First}
				for _, o := range f.Host.follow(f.packet(p, family, k), f.Us).untracked {
					severity, so := Warning, ", so they end with the lease, whatever the profile says"
					switch {
					case k.Proto == protocol.UDP:
					case f.Host.synproxies():
						so = ", and only what SYNPROXY takes in front of our rules gets in"
					default:
						severity = o.severity()
						so = ", so the gate takes their second packet for a stray one and drops it: `knock` says open, and the connection hangs"
					}
					b.add(severity, IDUntracked, p, k, o, "connections to %s of profile %s are not tracked, by %s",
						"conntrack does not know them"+so, "take the port out of that rule")
				}
			}
		}
	}
	return b
}

// synproxies reports whether any rule answers SYNs for servers: then the operator means them to be
// untracked.
func (h host) synproxies() bool {
	answers := func(r *rule) bool { return strings.Contains(strings.ToLower(r.text), "synproxy") }
	return slices.ContainsFunc(slices.Collect(maps.Values(h.named)), func(c *chain) bool { return slices.ContainsFunc(c.rules, answers) })
}

func conntrack(f *facts) []Finding {
	switch {
	case f.Conntrack:
		return []Finding{{ID: IDConntrack, Severity: OK, Found: "the kernel tracks connections"}}
	case !f.anyInstalled():
		return nil // the first rules load it
	}
	return []Finding{{IDConntrack, Broken, "the kernel does not track connections: nf_conntrack is not there",
		"the rules cannot tell packets of connections that exist from knocks", "modprobe nf_conntrack, or a kernel that has it"}}
}

// otherFamily finds ports that a profile gates in one family only, and that answer in the other.
func otherFamily(f *facts) *book {
	b := &book{}
	for _, p := range f.profiles() {
		for _, family := range protocol.Families() {
			if p.In(family) || !f.reachable(family) {
				continue
			}
			for _, l := range f.Listeners {
				gated := func(p *protocol.Profile) bool { return p.In(family) && p.Opens(l.Knock) }
				if !p.Opens(l.Knock) || !answers(l, family) || slices.ContainsFunc(f.profiles(), gated) ||
					closes(f.Host.follow(f.packet(p, family, l.Knock), f.Us)) {
					continue
				}
				b.add(Broken, IDOtherFamily, p, l.Knock, outcome{}, "%s is open over "+family.String()+": profile %s does not gate it there",
					"who comes by that family needs no knock",
					fmt.Sprintf("take `family` (and `to`, if it names one family only) out of the profile, or let the service listen on %s only", protocol.IPv4+protocol.IPv6-family))
			}
		}
	}
	return b
}

// answers reports whether a socket takes packets of the family from the network. A
// socket on [::] takes IPv4 too unless it says otherwise, which the kernel does not show.
func answers(l conns.Listener, family protocol.Family) bool {
	if l.Addr.IsLoopback() {
		return false
	}
	return protocol.FamilyOf(l.Addr) == family || l.Addr.Is6() && l.Addr.IsUnspecified()
}

// reachable reports whether the host has an address of the family that others reach.
func (f *facts) reachable(family protocol.Family) bool {
	reaches := func(a netip.Addr) bool { return protocol.FamilyOf(a) == family && !a.IsLinkLocalUnicast() }
	return slices.ContainsFunc(f.Network.Links, func(l server.Link) bool {
		return l.Up && !l.Loopback && slices.ContainsFunc(l.Addrs, reaches)
	})
}
