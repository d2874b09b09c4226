package conns

import (
	"encoding/binary"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"knockkit/protocol"
)

// Listener is a socket that takes connections or datagrams from whoever sends them.
type Listener struct {
	Knock protocol.Knock // what comes to it
	Addr  netip.Addr     // IPv4 as such; the unspecified one: every address
}

// socket is a TCP socket of this host that has two ends.
type socket struct {
	*netlink.Socket
	way // from this host to the other end; addresses of IPv4 as such, also where the socket is for both families
}

// ends returns where a socket is and what it is connected to. ok is false when the kernel
// has told of no addresses.
func ends(s *netlink.Socket) (w way, ok bool) {
	here, ok1 := netip.AddrFromSlice(s.ID.Source)
	there, ok2 := netip.AddrFromSlice(s.ID.Destination)
	return way{netip.AddrPortFrom(here.Unmap(), s.ID.SourcePort), netip.AddrPortFrom(there.Unmap(), s.ID.DestinationPort)}, ok1 && ok2
}

// destroyRequest says which socket: struct inet_diag_req_v2 of linux/inet_diag.h.
type destroyRequest struct{ *netlink.Socket }

// Len is the size of inet_diag_req_v2.
func (destroyRequest) Len() int { return 56 }

// Serialize writes the struct: ports and addresses in network order, the rest in
// the host's.
func (r destroyRequest) Serialize() []byte {
	b := make([]byte, r.Len())
	b[0] = r.Family
	b[1] = unix.IPPROTO_TCP
	binary.NativeEndian.PutUint32(b[4:], 1<<r.State)
	binary.BigEndian.PutUint16(b[8:], r.ID.SourcePort)
	binary.BigEndian.PutUint16(b[10:], r.ID.DestinationPort)
	from, to := r.ID.Source, r.ID.Destination
	if r.Family == unix.AF_INET {
		from, to = from.To4(), to.To4()
	}
	copy(b[12:28], from)
	copy(b[28:44], to)
	binary.NativeEndian.PutUint32(b[44:], r.ID.Interface)
	binary.NativeEndian.PutUint32(b[48:], r.ID.Cookie[0])
	binary.NativeEndian.PutUint32(b[52:], r.ID.Cookie[1])
	return b
}
