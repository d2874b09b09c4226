package server

import (
	"errors"
	"net/netip"

	"github.com/mdlayher/netlink"
	vnetlink "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"knockkit/protocol"
)

// misdirect ends a connection of a container that conntrack has forgotten. The next
// packet of the server there would be taken for the first of a new connection, and the
// engine's source NAT would give it the very address and port that the client knows: the
// old connection would go on. So conntrack is told of that new one before, from another
// port. The client does not know it and answers with a reset, which ends the server's side.
func misdirect(back connection, asked netip.AddrPort) error {
	ct, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return err
	}
	defer ct.Close()
	back.source = netip.AddrPortFrom(asked.Addr(), max(asked.Port()^1<<15, 1))
	const tries = 5 // the server may be sending
	for range tries {
		if err = back.create(ct); !errors.Is(err, unix.EEXIST) {
			return err
		}
		family := vnetlink.InetFamily(unix.AF_INET)
		if protocol.FamilyOf(asked.Addr()) == protocol.IPv6 {
			family = unix.AF_INET6
		}
		if _, err := vnetlink.ConntrackDeleteFilters(vnetlink.ConntrackTable, family, back); err != nil {
			return err
		}
	}
	return err
}

// MatchConntrackFlow implements vnetlink.CustomConntrackFilter.
func (c connection) MatchConntrackFlow(flow *vnetlink.ConntrackFlow) bool {
	f := flow.Forward
	return f.Protocol == unix.IPPROTO_TCP && addrPort(f.SrcIP, f.SrcPort) == c.client && addrPort(f.DstIP, f.DstPort) == c.server
}
