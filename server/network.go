package server

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"knockkit/protocol"
)

// dumps is how often interfaces are read when they change meanwhile.
const dumps = 5

// ReadNetwork reads the interfaces and addresses of the host, in the network namespace of the
// caller's thread, as far as the profiles' `interface` and `to` need them. It needs no privilege. It
// fails when netlink does, or when interfaces change during five reads in a row.
func ReadNetwork(profiles []*protocol.Profile) (n Network, err error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return Network{}, fmt.Errorf("the network interfaces: %w", err)
	}
	defer h.Close()
	for range dumps {
		if n, err = readLinks(h); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	if err != nil {
		return Network{}, fmt.Errorf("the network interfaces: %w", err)
	}
	for _, p := range profiles {
		for _, to := range p.To {
			if !n.has(to) && routedHere(h, to.Addr()) {
				n.Routed = append(n.Routed, to)
			}
		}
	}
	return n, nil
}

func readLinks(h *netlink.Handle) (Network, error) {
	links, err := h.LinkList()
	if err != nil {
		return Network{}, err
	}
	addrs, err := h.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return Network{}, err
	}
	name := func(index int) string {
		i := slices.IndexFunc(links, func(l netlink.Link) bool { return index != 0 && l.Attrs().Index == index })
		if i < 0 {
			return ""
		}
		return links[i].Attrs().Name
	}
	var n Network
	for _, l := range links {
		a := l.Attrs()
		is := Link{
			Name: a.Name, Others: a.AltNames, Kind: l.Type(), Master: name(a.MasterIndex),
			Up: a.Flags&net.FlagUp != 0, Loopback: a.Flags&net.FlagLoopback != 0,
		}
		if slices.Contains([]string{"vlan", "macvlan", "ipvlan"}, is.Kind) && a.NetNsID < 0 { // else the number is of another namespace
			is.Parent = name(a.ParentIndex)
		}
		for _, addr := range addrs {
			if ip, ok := netip.AddrFromSlice(addr.IP); ok && addr.LinkIndex == a.Index {
				is.Addrs = append(is.Addrs, ip.Unmap())
			}
		}
		n.Links = append(n.Links, is)
	}
	return n, nil
}

// routedHere reports whether the kernel takes packets to an address for its own although
// no interface has it: `ip route add local`.
func routedHere(h *netlink.Handle, addr netip.Addr) bool {
	routes, err := h.RouteGet(addr.AsSlice())
	return err == nil && len(routes) > 0 && routes[0].Type == unix.RTN_LOCAL
}
