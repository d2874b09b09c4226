package doctor

import (
	"net/netip"
	"slices"

	"knockkit/protocol"
	"knockkit/server"
)

// whatNetwork is said where the interfaces could not be looked at.
const whatNetwork = "the network interfaces"

// lookAtNetwork lists the interfaces and addresses.
func (f *facts) lookAtNetwork() {
	n, err := server.ReadNetwork(f.profiles())
	f.miss(whatNetwork, err)
	f.use(n)
	for _, l := range n.Links {
		if l.Up && !l.Loopback {
			f.ReversePath = append(f.ReversePath, reversePath(l.Name))
		}
	}
}

// use notes where packets of strangers come in.
func (f *facts) use(n server.Network) {
	f.Network = n
	for _, l := range n.Links {
		if !l.Up {
			continue
		}
		mine := slices.DeleteFunc(slices.Clone(l.Addrs), netip.Addr.IsLoopback)
		for _, family := range protocol.Families() {
			f.network[family].add(l.Name, l.Loopback, family, mine)
		}
	}
}

// here reports whether an address is one of this host's interfaces.
func (f *facts) here(a netip.Addr) bool {
	return slices.ContainsFunc(f.Network.Links, func(l server.Link) bool { return slices.Contains(l.Addrs, a) })
}

// add notes an interface and its addresses. Strangers connect to the address of any
// interface that faces them, and to those on loopback that are not loopback's own. By
// an interface without an address, such as a bridge's port, nothing comes in.
func (n *network) add(name string, loopback bool, family protocol.Family, mine []netip.Addr) {
	inner := container.MatchString(name)
	for _, a := range mine {
		switch {
		case protocol.FamilyOf(a) != family:
		case inner, a.IsLinkLocalUnicast():
			n.aside = append(n.aside, a)
		default:
			n.addresses = append(n.addresses, a)
		}
	}
	if !loopback && !inner && len(mine) > 0 {
		n.interfaces = append(n.interfaces, name)
	}
}

// packet returns the first packet of a connection, or a knock, that the profile is about.
func (f *facts) packet(p *protocol.Profile, family protocol.Family, k protocol.Knock) Packet {
	n := f.network[family]
	if p.Interface != "" {
		n.interfaces, n.only = []string{p.Interface}, true
	}
	if len(p.To) > 0 {
		n.addresses, n.aside = within(p.To, n.addresses), within(p.To, n.aside)
	}
	return Packet{Family: family, Knock: k, network: n}
}

func within(prefixes []netip.Prefix, addrs []netip.Addr) []netip.Addr {
	return slices.DeleteFunc(slices.Clone(addrs), func(a netip.Addr) bool {
		return !slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
	})
}
