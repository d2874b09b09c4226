package doctor

import (
	"fmt"
	"strings"

	"knockkit/protocol"
	"knockkit/server/conns"
)

// knocks follows every knock to our rules: what ends before them is not heard. Doctor says
// which those are, to who has asked for everything.
func knocks(f *Facts) []Finding { return f.followKnocks().findings() }

func (f *Facts) followKnocks() *book {
	b := &book{}
	for _, p := range f.profiles() {
		for _, family := range protocol.Families() {
			if !p.OpensIn(family) {
				continue
			}
			for _, k := range knocksOf(p) {
				for _, o := range f.Host.follow(f.packet(p, family, k), f.Us).before {
					switch {
					case o.tie:
						b.note(Broken, IDUnheard, p, k, o, "profile %[2]s hears %[1]s only while our rules are in front of %[3]s",
							"both have the same priority, so the one loaded last comes first: which it is now is not known, and with each reload of that chain knocking ends",
							later(f.Us))
					case o.certain:
						b.note(Broken, IDUnheard, p, k, o, "profile %[2]s does not hear %[1]s, dropped before our rules by %[3]s",
							"the sequence cannot be completed: nobody gets in",
							"let the knock pass there, or choose another port for it")
					}
				}
			}
		}
	}
	return b
}

// later says how our rules come before a chain that has their priority.
func later(us site) string {
	todo := "give that chain a later priority (`priority filter + 10`)"
	if us.tool != nftTool {
		todo += ", or set backend = \"nftables\" in knockd.toml: our chain is then before it"
	}
	return todo
}

func knocksOf(p *protocol.Profile) []protocol.Knock {
	var all []protocol.Knock
	for _, s := range p.Sequence {
		all = append(all, s.Knock)
	}
	if p.Close != nil {
		all = append(all, *p.Close)
	}
	return all
}

func untracked(f *Facts) []Finding { return f.followUntracked().findings() }

// followUntracked: without conntrack an established connection is not known as one. To the
// gate a later packet of TCP is a stray one, and a later datagram a first one.
func (f *Facts) followUntracked() *book {
	b := &book{}
	for _, p := range f.profiles() {
		for _, family := range protocol.Families() {
			if !p.In(family) {
				continue
			}
			for _, open := range p.Open {
				k := protocol.Knock{Proto: open.Proto, Port: open.First}
				for _, o := range f.Host.follow(f.packet(p, family, k), f.Us).untracked {
					const found, todo = "connections to %s of profile %s are not tracked, by %s", "take the port out of that rule"
					switch {
					case k.Proto == protocol.UDP:
						b.note(Warning, IDUntracked, p, k, o, found, "conntrack does not know them, so they end with the lease, whatever the profile says", todo)
					case f.Host.synproxies():
						b.note(Warning, IDUntracked, p, k, o, found, "conntrack does not know them, and only what SYNPROXY takes in front of our rules gets in", todo)
					default:
						b.note(o.severity(), IDUntracked, p, k, o, found,
							"conntrack does not know them, so the gate takes their second packet for a stray one and drops it: `knock` says open, and the connection hangs", todo)
					}
				}
			}
		}
	}
	return b
}

// synproxies reports whether any rule answers SYNs in the place of servers: then it is
// meant that those are not tracked.
func (h host) synproxies() bool {
	for _, c := range h.chains {
		for _, r := range c.rules {
			if strings.Contains(r.text, "SYNPROXY") || strings.Contains(r.text, "synproxy") {
				return true
			}
		}
	}
	return false
}

func conntrack(f *Facts) []Finding {
	switch {
	case f.Conntrack:
		return []Finding{{ID: IDConntrack, Severity: OK, Found: "the kernel tracks connections"}}
	case !f.holds():
		return nil // it is loaded with the first rules
	}
	return []Finding{{IDConntrack, Broken, "the kernel does not track connections: nf_conntrack is not there",
		"the rules cannot tell packets of connections that exist from knocks", "modprobe nf_conntrack, or a kernel that has it"}}
}

// otherFamily looks for ports that a profile gates in one family only, and that
// answer in the other.
func otherFamily(f *Facts) []Finding {
	var b book
	for _, p := range f.profiles() {
		for _, family := range protocol.Families() {
			if p.In(family) || !f.reachable(family) {
				continue
			}
			for _, l := range f.Listeners {
				if !opens(p, l.Knock) || !answers(l, family) || f.gatedElsewhere(l.Knock, family) {
					continue
				}
				if closes(f.Host.follow(f.packet(p, family, l.Knock), f.Us)) {
					continue
				}
				b.note(Broken, IDOtherFamily, p, l.Knock, outcome{}, "%s is open over "+family.String()+": profile %s does not gate it there",
					"who comes by that family needs no knock",
					fmt.Sprintf("take `family` (and `to`, if it names one family only) out of the profile, or let the service listen on %s only", other(family)))
			}
		}
	}
	return b.findings()
}

func opens(p *protocol.Profile, k protocol.Knock) bool {
	for _, r := range p.Open {
		if r.Contains(k) {
			return true
		}
	}
	return false
}

// answers reports whether a socket takes packets of the family from the network. A
// socket on [::] takes IPv4 too unless it says otherwise, which the kernel does not show.
func answers(l conns.Listener, family protocol.Family) bool {
	if l.Addr.IsLoopback() {
		return false
	}
	return protocol.FamilyOf(l.Addr) == family || l.Addr.Is6() && l.Addr.IsUnspecified()
}

func (f *Facts) gatedElsewhere(k protocol.Knock, family protocol.Family) bool {
	for _, p := range f.profiles() {
		if p.In(family) && opens(p, k) {
			return true
		}
	}
	return false
}

// reachable reports whether the host has an address of the family that others reach.
func (f *Facts) reachable(family protocol.Family) bool {
	for _, l := range f.Network.Links {
		for _, a := range l.Addrs {
			if l.Up && !l.Loopback && protocol.FamilyOf(a) == family && !a.IsLinkLocalUnicast() {
				return true
			}
		}
	}
	return false
}

func other(f protocol.Family) protocol.Family {
	if f == protocol.IPv4 {
		return protocol.IPv6
	}
	return protocol.IPv4
}
