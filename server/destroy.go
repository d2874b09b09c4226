package server

import (
	"encoding/binary"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"knockkit/protocol"
)

// destroySocket closes a TCP connection on this host, of either family; the
// library's own function knows IPv4 alone. The kernel answers ENOENT where there is
// no such socket (the connection is forwarded, or over) and EOPNOTSUPP where it was
// built without INET_DIAG_DESTROY.
func destroySocket(local, remote netip.AddrPort) error {
	req := nl.NewNetlinkRequest(nl.SOCK_DESTROY, unix.NLM_F_ACK)
	req.AddData(destroyRequest{local, remote})
	_, err := req.Execute(unix.NETLINK_INET_DIAG, 0)
	return err
}

// destroyRequest says which socket: struct inet_diag_req_v2 of linux/inet_diag.h.
type destroyRequest struct {
	local, remote netip.AddrPort
}

// Len is the size of inet_diag_req_v2.
func (destroyRequest) Len() int { return 56 }

// Serialize writes the struct: ports and addresses in network order, the rest in
// the host's.
func (r destroyRequest) Serialize() []byte {
	b := make([]byte, r.Len())
	b[0] = unix.AF_INET
	if protocol.FamilyOf(r.local.Addr()) == protocol.IPv6 {
		b[0] = unix.AF_INET6
	}
	b[1] = unix.IPPROTO_TCP
	binary.NativeEndian.PutUint32(b[4:], ^uint32(0)) // in any state
	binary.BigEndian.PutUint16(b[8:], r.local.Port())
	binary.BigEndian.PutUint16(b[10:], r.remote.Port())
	copy(b[12:28], r.local.Addr().AsSlice())
	copy(b[28:44], r.remote.Addr().AsSlice())
	binary.NativeEndian.PutUint64(b[48:], ^uint64(0)) // no cookie: whichever socket it is now
	return b
}
