package doctor

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"knockkit/protocol"
)

// packet is a knock, or a packet of a connection, between a stranger and an address of the host.
type packet struct {
	Family protocol.Family
	Knock  protocol.Knock // its port is the host's; behind destination NAT the container's

	stage   stage
	routed  bool // destination NAT has sent it elsewhere: it is forwarded
	network network
}

// stage is which packet of a connection it is.
type stage uint8

// The stages. All but the first are established for conntrack.
const (
	first stage = iota
	next        // a later one of the client
	reply       // one of the host
)

// at returns another packet of the same connection.
func (p packet) at(s stage) packet {
	p.stage = s
	return p
}

// translated returns the packet as it is behind destination NAT.
func (p packet) translated(to destination) packet {
	p.routed = true
	p.network.addresses, p.network.aside = []netip.Addr{to.addr}, nil
	if to.port != 0 {
		p.Knock.Port = to.port
	}
	return p
}

// flags returns the TCP flags of the packet.
func (p packet) flags() []string {
	return map[stage][]string{first: {"syn"}, next: {"ack"}, reply: {"syn", "ack"}}[p.stage]
}

// network says on which interfaces packets of strangers come in, and to which addresses. Unknown
// fields are empty.
type network struct {
	interfaces []string     // interfaces that face strangers
	only       bool         // they come in on no other interface
	addresses  []netip.Addr // addresses that strangers connect to
	aside      []netip.Addr // the host's others: link-local, or facing containers
}

// comesBy says whether the stranger's packet comes in on a matching interface. An interface that is
// not there may come up later, unless it is one of those that face no strangers.
func (p packet) comesBy(matches func(string) bool, inner bool) answer {
	n := count(p.network.interfaces, matches)
	switch {
	case n > 0 && n == len(p.network.interfaces):
		return yes
	case n == 0 && (p.network.only || inner):
		return no
	}
	return perhaps
}

// container matches the interfaces behind which containers and virtual machines are,
// by the names that Docker, Podman, CNI, LXD and libvirt give them.
var container = regexp.MustCompile(`^(docker|podman|cni|cali|virbr|vnet|lxcbr|lxdbr|incusbr|veth)|^br-[0-9a-f]{12}$`)

// isHost says whether the packet's address of the host is in one of the ranges. A stranger's packet
// is to no loopback address, and to no address that the host does not have.
func (p packet) isHost(ranges []addresses) answer {
	among := func(a netip.Addr) bool {
		return slices.ContainsFunc(ranges, func(r addresses) bool { return r.contain(a) })
	}
	n := count(p.network.addresses, among)
	unknown := len(p.network.addresses) == 0 && slices.ContainsFunc(ranges, func(r addresses) bool { return !r.first.IsLoopback() })
	switch {
	case n > 0 && n == len(p.network.addresses):
		return yes
	case n > 0, unknown, slices.ContainsFunc(p.network.aside, among):
		return perhaps
	}
	return no
}

// isStranger says whether the stranger's address is in one of the ranges: it can be any but a
// loopback one.
func (p packet) isStranger(ranges []addresses) answer {
	is := no
	for _, r := range ranges {
		switch {
		case protocol.FamilyOf(r.first) != p.Family, r.first.IsLoopback() && r.last.IsLoopback():
		case r.all():
			return yes
		default:
			is = perhaps
		}
	}
	return is
}

// isStrangerPort says whether the stranger's port is in one of the ranges. The stranger can choose
// any; a client's kernel takes one of the upper half.
func (p packet) isStrangerPort(ports []protocol.PortRange) answer {
	const lowest = 32768 // of those that clients take (ip_local_port_range; IANA: 49152)
	is := no
	for _, r := range ports {
		switch {
		case r.First <= 1024 && r.Last == 65535:
			return yes
		case p.stage == first || r.Last >= lowest:
			is = perhaps
		}
	}
	return is
}

// addresses is a range of them, both ends included.
type addresses struct {
	first, last netip.Addr
}

// parseAddresses reads "10.0.0.0/8", "10.0.0.1-10.0.0.9" and single addresses.
func parseAddresses(values []string) (all []addresses, ok bool) {
	for _, v := range values {
		if p, err := protocol.ParsePrefix(v); err == nil {
			all = append(all, addresses{p.Masked().Addr(), lastOf(p)})
			continue
		}
		from, to, _ := strings.Cut(v, "-")
		a, errA := netip.ParseAddr(from)
		b, errB := netip.ParseAddr(to)
		if errA != nil || errB != nil {
			return nil, false
		}
		all = append(all, addresses{a, b})
	}
	return all, len(all) > 0
}

// lastOf returns the last address of a prefix.
func lastOf(p netip.Prefix) netip.Addr {
	raw := p.Masked().Addr().AsSlice()
	for bit := p.Bits(); bit < len(raw)*8; bit++ {
		raw[bit/8] |= 0x80 >> (bit % 8)
	}
	a, _ := netip.AddrFromSlice(raw)
	return a
}

func (r addresses) contain(a netip.Addr) bool {
	return a.BitLen() == r.first.BitLen() && r.first.Compare(a) <= 0 && a.Compare(r.last) <= 0
}

// all reports whether the range has every address of its family.
func (r addresses) all() bool {
	return r.first.IsUnspecified() && r.last == lastOf(netip.PrefixFrom(r.first, 0))
}
