package server

import (
	"fmt"
	"net/netip"
	"slices"

	"knockkit/internal/say"
	"knockkit/protocol"
)

// Network is the interfaces of a host, and the addresses that are its own.
type Network struct {
	Links  []Link
	Routed []netip.Prefix // prefixes of some `to` that are local by a route alone
}

// Link is a network interface.
type Link struct {
	Name     string
	Others   []string // its other names (altname), which rules do not match
	Kind     string   // as `ip -d link` says it: "bridge", "vlan", …
	Master   string   // the bridge, bond, team or VRF that it belongs to; "": none
	Parent   string   // of a vlan, macvlan or ipvlan: the interface below it; "": not here
	Up       bool
	Loopback bool
	Addrs    []netip.Addr
}

// reached returns the addresses that other hosts use: neither loopback nor link-local.
func (l Link) reached() []netip.Addr {
	return slices.DeleteFunc(slices.Clone(l.Addrs), func(a netip.Addr) bool { return a.IsLoopback() || a.IsLinkLocalUnicast() })
}

// has reports whether an address of any interface, loopback aside, lies in the prefix.
func (n Network) has(p netip.Prefix) bool {
	return slices.ContainsFunc(n.Links, func(l Link) bool {
		return slices.ContainsFunc(l.Addrs, func(a netip.Addr) bool { return p.Contains(a) && !a.IsLoopback() })
	})
}

func (n Network) link(match func(Link) bool) *Link {
	if i := slices.IndexFunc(n.Links, match); i >= 0 {
		return &n.Links[i]
	}
	return nil
}

func (n Network) named(name string) *Link {
	return n.link(func(l Link) bool { return l.Name == name })
}

// GatesNothing says why the profile's `interface` or `to` matches no packet that comes in now. That
// may change: interfaces and addresses come and go.
func (n Network) GatesNothing(p *protocol.Profile) []Reason {
	var all []Reason
	if p.Interface != "" {
		if found, todo := n.wrongInterface(p.Interface); found != "" {
			all = append(all, Reason{ReasonInterface, p.Name, fmt.Sprintf("profile %s gates nothing: %s", p.Name, found),
				"no packet comes in by that name: what the profile opens is as open as the host's other rules leave it, and no knock is heard", todo})
		}
	}
	for _, to := range p.To {
		if p.Family != protocol.Both && p.Family != protocol.FamilyOf(to.Addr()) {
			continue
		}
		if found, todo := n.wrongTo(to); found != "" {
			all = append(all, Reason{ReasonTo, p.Name, fmt.Sprintf("profile %s gates nothing at %s: %s", p.Name, to, found),
				"at the host's other addresses what the profile opens is as open as the host's other rules leave it", todo})
		}
	}
	return all
}

// later is added where something may come up later: an interface of a dialled connection, an address
// that moves between hosts.
const later = "not there now; the gate works as soon as it is"

// wrongInterface says what is wrong with an interface's name, and what to write instead; "" means
// that nothing is wrong.
func (n Network) wrongInterface(name string) (found, todo string) {
	l := n.named(name)
	if l == nil {
		if l = n.link(func(l Link) bool { return slices.Contains(l.Others, name) }); l != nil {
			found = fmt.Sprintf("%s is another name of %s", name, l.Name)
		}
	}
	if l == nil {
		return n.missing(name)
	}
	for range n.Links { // a port of a bond may be a port of a bridge
		m := n.named(l.Master)
		if m == nil {
			break
		}
		found = join(found, l.Name, belongs(m))
		l = m
	}
	switch child := n.above(l); {
	case l.Kind == "openvswitch": // packets arrive on its internal ports, and there may be many
		return found, "write the internal port that has the host's address, as `ovs-vsctl show` and `ip address` show it"
	case l.Loopback:
		return join(found, l.Name, "loopback, which is never gated"), "leave `interface` out, or write one that others come by: " + n.ways()
	case l.Kind == "dummy":
		return join(found, l.Name, "a dummy, by which nothing comes in"), "leave `interface` out, or write one that others come by: " + n.ways()
	case child != nil:
		return join(found, l.Name, fmt.Sprintf("without an address, and packets to %s arrive on %s itself", child.reached()[0], child.Name)), "write " + child.Name
	case found != "":
		return found, "write " + l.Name
	}
	return "", ""
}

// join adds what an interface is to what was said before it.
func join(found, name, is string) string {
	if found == "" {
		return name + " is " + is
	}
	return found + ", which is " + is
}

func belongs(m *Link) string {
	what := map[string]string{"bond": "part", "team": "part", "vrf": "a member"}[m.Kind]
	if what == "" {
		what = "a port"
	}
	return what + " of " + m.Name
}

// above returns the interface on top of l that has an address, where l itself has none: the packets
// that come in by l are that one's.
func (n Network) above(l *Link) *Link {
	if len(l.reached()) > 0 {
		return nil
	}
	return n.link(func(c Link) bool { return c.Parent == l.Name && len(c.reached()) > 0 })
}

// missing is about a name that no interface has.
func (n Network) missing(name string) (found, todo string) {
	found, write := "there is no interface "+name, "one that others come by: "+n.ways()
	if meant := say.Closest(name, n.names()); meant != "" {
		found, write = fmt.Sprintf("%s (did you mean %s?)", found, meant), meant
	}
	return found, fmt.Sprintf("write %s (if %s comes later: %s)", write, name, later)
}

// names returns the interfaces that packets can arrive on.
func (n Network) names() []string {
	var names []string
	for _, l := range n.Links {
		if !l.Loopback && l.Master == "" && l.Kind != "dummy" {
			names = append(names, l.Name)
		}
	}
	return names
}

// ways lists the interfaces that packets can arrive on, those with an address if any has.
func (n Network) ways() string {
	all := n.names()
	addressed := slices.DeleteFunc(slices.Clone(all), func(name string) bool { return len(n.named(name).reached()) == 0 })
	switch {
	case len(addressed) > 0:
		return say.Names(addressed)
	case len(all) > 0:
		return say.Names(all)
	}
	return "there is none now"
}

// wrongTo says why no packet to a prefix is for this host, and what to write instead; "" means that
// nothing is wrong.
func (n Network) wrongTo(to netip.Prefix) (found, todo string) {
	loopback := netip.MustParsePrefix("127.0.0.0/8")
	if to.Addr().Is6() {
		loopback = netip.MustParsePrefix("::1/128")
	}
	switch {
	case loopback.Bits() <= to.Bits() && loopback.Contains(to.Addr()):
		return "loopback is never gated", n.addresses(protocol.FamilyOf(to.Addr()))
	case to.Addr().IsMulticast():
		return "it is multicast, to which nobody can connect", n.addresses(protocol.FamilyOf(to.Addr()))
	case n.has(to) || slices.Contains(n.Routed, to):
		return "", ""
	}
	return "no address of this host lies there", fmt.Sprintf("%s (if an address comes later: %s)", n.addresses(protocol.FamilyOf(to.Addr())), later)
}

// addresses lists the addresses of a family that other hosts use, in the form that `to` takes.
func (n Network) addresses(f protocol.Family) string {
	var all []string
	for _, l := range n.Links {
		for _, a := range l.reached() {
			if protocol.FamilyOf(a) == f {
				all = append(all, fmt.Sprintf(`"%s"`, netip.PrefixFrom(a, a.BitLen())))
			}
		}
	}
	if len(all) == 0 {
		return fmt.Sprintf("this host has no %s address that others come to", f)
	}
	return "write what others come to: " + say.Names(all)
}
