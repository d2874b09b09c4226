package conns

import (
	"encoding/binary"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"knockkit/protocol"
)

// Listener is a socket that takes connections or datagrams from anybody.
type Listener struct {
	Knock protocol.Knock // the packet that it takes
	Addr  netip.Addr     // IPv4 as such; the unspecified one: every address
}

// socket is a TCP socket of this host that has two ends.
type socket struct {
	*netlink.Socket
	way // from this host to the other end; addresses of IPv4 as such, also where the socket is for both families
}

// ends returns where a socket is and what it is connected to.
func ends(s *netlink.Socket) way {
	here, _ := netip.AddrFromSlice(s.ID.Source) // netlink has 16 bytes for every address
	there, _ := netip.AddrFromSlice(s.ID.Destination)
	return way{netip.AddrPortFrom(here.Unmap(), s.ID.SourcePort), netip.AddrPortFrom(there.Unmap(), s.ID.DestinationPort)}
}

// request is the socket's identity: struct inet_diag_req_v2 of linux/inet_diag.h, with ports and
// addresses in network order, the rest in the host's.
func (s socket) request() []byte {
	b := []byte{s.Family, unix.IPPROTO_TCP, 0, 0}
	b = binary.NativeEndian.AppendUint32(b, 1<<s.State)
	b = binary.BigEndian.AppendUint16(b, s.ID.SourcePort)
	b = binary.BigEndian.AppendUint16(b, s.ID.DestinationPort)
	for _, ip := range []net.IP{s.ID.Source, s.ID.Destination} {
		var addr [net.IPv6len]byte
		if s.Family == unix.AF_INET {
			ip = ip.To4()
		}
		copy(addr[:], ip)
		b = append(b, addr[:]...)
	}
	for _, n := range []uint32{s.ID.Interface, s.ID.Cookie[0], s.ID.Cookie[1]} {
		b = binary.NativeEndian.AppendUint32(b, n)
	}
	return b
}
