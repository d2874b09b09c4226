package server

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"knockkit/protocol"
)

// endConnections ends the connections that the holder made to the profile's
// ports, and returns how many there were. What conntrack forgets is a stranger's
// stray packet at the gate. But with a packet of its own the server's side would make
// conntrack pick the connection up again, from the other end: a local TCP socket is
// closed besides, where the kernel can (INET_DIAG_DESTROY), and see [misdirect].
func endConnections(p *protocol.Profile, holder netip.Prefix) (int, error) {
	flows := &flowsOf{profile: p, holder: holder}
	family := netlink.InetFamily(unix.AF_INET)
	if holder.Addr().Is6() {
		family = unix.AF_INET6
	}
	n, err := netlink.ConntrackDeleteFilters(netlink.ConntrackTable, family, flows)
	if err != nil {
		return int(n), fmt.Errorf("ending connections through conntrack: %w", err)
	}
	for _, f := range flows.tcp {
		// Behind destination NAT the server is where the answers come from.
		server, client := addrPort(f.Reverse.SrcIP, f.Reverse.SrcPort), addrPort(f.Reverse.DstIP, f.Reverse.DstPort)
		asked := addrPort(f.Forward.DstIP, f.Forward.DstPort)
		err := destroySocket(server, client)
		if errors.Is(err, unix.ENOENT) && server != asked {
			err = misdirect(connection{client: server, server: client}, asked)
		}
		if err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EOPNOTSUPP) {
			return int(n), fmt.Errorf("closing %s: %w", client, err)
		}
	}
	return int(n), nil
}

func addrPort(ip net.IP, port uint16) netip.AddrPort {
	addr, _ := netip.AddrFromSlice(ip) // of conntrack: 4 or 16 bytes
	return netip.AddrPortFrom(addr.Unmap(), port)
}

// flowsOf matches the connections of a holder to a profile's ports, and keeps the TCP ones.
type flowsOf struct {
	profile *protocol.Profile
	holder  netip.Prefix
	tcp     []*netlink.ConntrackFlow
}

// MatchConntrackFlow implements netlink.CustomConntrackFilter.
func (f *flowsOf) MatchConntrackFlow(flow *netlink.ConntrackFlow) bool {
	src, ok := netip.AddrFromSlice(flow.Forward.SrcIP)
	if !ok || !f.holder.Contains(src.Unmap()) {
		return false
	}
	proto := map[uint8]protocol.Proto{unix.IPPROTO_TCP: protocol.TCP, unix.IPPROTO_UDP: protocol.UDP}[flow.Forward.Protocol]
	if !f.profile.Opens(protocol.Knock{Proto: proto, Port: flow.Forward.DstPort}) {
		return false
	}
	if proto == protocol.TCP {
		f.tcp = append(f.tcp, flow)
	}
	return true
}
