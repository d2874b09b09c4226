package protocol

import (
	"cmp"
	"fmt"
	"net/netip"
	"strconv"
)

// Proto is the kind of packet that a knock or an opened port belongs to.
type Proto uint8

// The protocols. ICMP stands for ICMPv6 too: which one is meant follows from
// the source's address family.
const (
	ICMP Proto = iota + 1
	TCP
	UDP
)

// String returns "icmp", "tcp" or "udp".
func (p Proto) String() string {
	switch p {
	case ICMP:
		return "icmp"
	case TCP:
		return "tcp"
	case UDP:
		return "udp"
	}
	return fmt.Sprintf("proto(%d)", uint8(p))
}

// ParseProto reads what [Proto.String] writes; ok is false for any other text.
func ParseProto(name string) (p Proto, ok bool) {
	for _, p = range []Proto{ICMP, TCP, UDP} {
		if name == p.String() {
			return p, true
		}
	}
	return 0, false
}

// Knock is one kind of packet: an echo request, a SYN to a TCP port, or a
// datagram to a UDP port. Port is 0 for ICMP, else 1 to 65535.
type Knock struct {
	Proto Proto
	Port  uint16
}

// String returns the knock as a profile writes it, with a numeric port: "icmp",
// "7/tcp", "53/udp". ParseKnock of package format reads it back.
func (k Knock) String() string {
	if k.Proto == ICMP {
		return "icmp"
	}
	return strconv.Itoa(int(k.Port)) + "/" + k.Proto.String()
}

// Compare orders knocks by protocol, then port.
func (k Knock) Compare(o Knock) int {
	if c := cmp.Compare(k.Proto, o.Proto); c != 0 {
		return c
	}
	return cmp.Compare(k.Port, o.Port)
}

// PortRange is what a profile opens: the ports First to Last, both included, of
// TCP or UDP. 1 <= First <= Last.
type PortRange struct {
	Proto       Proto
	First, Last uint16
}

// String returns the range as a profile writes it: "3306/tcp", "6000-6010/tcp".
func (r PortRange) String() string {
	if r.First == r.Last {
		return fmt.Sprintf("%d/%s", r.First, r.Proto)
	}
	return fmt.Sprintf("%d-%d/%s", r.First, r.Last, r.Proto)
}

// Contains reports whether a packet of kind k goes to a port of the range.
func (r PortRange) Contains(k Knock) bool {
	return k.Proto == r.Proto && r.First <= k.Port && k.Port <= r.Last
}

// Intersect returns the ports that are in both ranges; ok is false where there is none.
func (r PortRange) Intersect(o PortRange) (both PortRange, ok bool) {
	both = PortRange{r.Proto, max(r.First, o.First), min(r.Last, o.Last)}
	return both, r.Proto == o.Proto && both.First <= both.Last
}

// Family says which address families a profile works on.
type Family uint8

// The families. Both is a profile's default; an [Automaton] is always for one.
const (
	Both Family = iota
	IPv4
	IPv6
)

// Families lists the two families in the order in which they are installed.
func Families() []Family { return []Family{IPv4, IPv6} }

// String returns "both", "ipv4" or "ipv6".
func (f Family) String() string {
	switch f {
	case Both:
		return "both"
	case IPv4:
		return "ipv4"
	case IPv6:
		return "ipv6"
	}
	return fmt.Sprintf("family(%d)", uint8(f))
}

// Label is the family as people write it: "IPv4", "IPv6"; "IPv4 and IPv6" of Both.
func (f Family) Label() string {
	switch f {
	case IPv4:
		return "IPv4"
	case IPv6:
		return "IPv6"
	}
	return "IPv4 and IPv6"
}

// FamilyOf returns the family of an address; IPv4 in IPv6 form counts as IPv4.
func FamilyOf(a netip.Addr) Family {
	if a.Unmap().Is4() {
		return IPv4
	}
	return IPv6
}

// Netmask returns the mask of a prefix length in the family: "255.255.255.0", "ffff:ff00::".
func (f Family) Netmask(bits int) string {
	raw := make([]byte, f.Bits()/8)
	for i := range bits {
		raw[i/8] |= 0x80 >> (i % 8)
	}
	mask, _ := netip.AddrFromSlice(raw) // 4 or 16 bytes: always an address
	return mask.String()
}

// Bits returns the length of the family's addresses: 32 or 128.
func (f Family) Bits() int {
	if f == IPv4 {
		return 32
	}
	return 128
}
