package server

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// socket is a TCP socket of this host that has two ends.
type socket struct {
	*netlink.Socket
	way // from this host to the other end; addresses of IPv4 as such, also where the socket is for both families
}

// socketsOf lists the TCP sockets of connections that are not over, of all families,
// and the ports that something listens on. A socket of such a port was accepted here:
// the kernel gives none of these ports to a socket that connects to somebody else.
func socketsOf() (all []socket, listens map[uint16]bool, err error) {
	listens = map[uint16]bool{}
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		sockets, err := netlink.SocketDiagTCP(family)
		if err != nil {
			return nil, nil, fmt.Errorf("listing the connections that exist: %w", err)
		}
		for _, s := range sockets {
			here, ok1 := netip.AddrFromSlice(s.ID.Source)
			there, ok2 := netip.AddrFromSlice(s.ID.Destination)
			switch {
			case s.State == netlink.TCP_LISTEN:
				listens[s.ID.SourcePort] = true
			case s.State == netlink.TCP_CLOSE, s.State == netlink.TCP_TIME_WAIT, !ok1, !ok2:
				// over
			default:
				all = append(all, socket{s, way{netip.AddrPortFrom(here.Unmap(), s.ID.SourcePort), netip.AddrPortFrom(there.Unmap(), s.ID.DestinationPort)}})
			}
		}
	}
	return all, listens, nil
}

// destroy ends the connection of this socket, and of no other. Its cookie says which:
// asked for two ends alone, the kernel takes the socket that listens when the connection
// is over. Errors: unix.ENOENT or unix.ESTALE when the socket is gone, unix.EOPNOTSUPP
// where the kernel was built without INET_DIAG_DESTROY.
func (s socket) destroy() error {
	req := nl.NewNetlinkRequest(nl.SOCK_DESTROY, unix.NLM_F_ACK)
	req.AddData(destroyRequest{s.Socket})
	_, err := req.Execute(unix.NETLINK_INET_DIAG, 0)
	return err
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
