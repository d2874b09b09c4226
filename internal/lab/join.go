//go:build linux

package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Join connects two hosts with a pair of virtual Ethernet devices. On the first
// join of both, a gets 198.51.100.1 and 2001:db8::1, b the same ending in 2.
func Join(a, b *Host) error {
	n, err := nextSubnet(a, b)
	if err != nil {
		return err
	}
	nameA, nameB := a.nextName("eth"), b.nextName("eth")
	if err := veth(a, nameA, b, nameB); err != nil {
		return err
	}
	if err := a.addInterface(nameA, n, 1); err != nil {
		return err
	}
	if err := b.addInterface(nameB, n, 2); err != nil {
		return err
	}
	return errors.Join(a.waitForCable(nameA), b.waitForCable(nameB))
}

// Network connects up to 14 hosts to one Ethernet: a bridge in a namespace of its
// own, which is returned for the caller to close. Where nothing was linked before,
// the hosts get 198.51.100.1, .2, … and 2001:db8::1, ::2, … in the order given.
func Network(hosts ...*Host) (bridge *Host, err error) {
	if len(hosts) > maxMembers {
		return nil, fmt.Errorf("network of %d hosts: at most %d", len(hosts), maxMembers)
	}
	n, err := nextSubnet(hosts...)
	if err != nil {
		return nil, err
	}
	if bridge, err = New("bridge"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			bridge.Close()
		}
	}()
	br := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}
	if err := bridge.route.LinkAdd(br); err != nil {
		return nil, fmt.Errorf("add bridge: %w", err)
	}
	if err := bridge.route.LinkSetUp(br); err != nil {
		return nil, fmt.Errorf("bridge up: %w", err)
	}
	for i, h := range hosts {
		port, name := fmt.Sprintf("port%d", i), h.nextName("eth")
		if err := veth(bridge, port, h, name); err != nil {
			return nil, err
		}
		link, err := bridge.route.LinkByName(port)
		if err != nil {
			return nil, fmt.Errorf("bridge port %s: %w", port, err)
		}
		if err := bridge.route.LinkSetMaster(link, br); err != nil {
			return nil, fmt.Errorf("bridge port %s: %w", port, err)
		}
		if err := bridge.route.LinkSetUp(link); err != nil {
			return nil, fmt.Errorf("bridge port %s: %w", port, err)
		}
		if err := h.addInterface(name, n, i+1); err != nil {
			return nil, err
		}
		if err := errors.Join(bridge.waitForCable(port), h.waitForCable(name)); err != nil {
			return nil, err
		}
	}
	return bridge, nil
}

// AddAddr gives the host another address on one of its interfaces.
func (h *Host) AddAddr(name string, addr netip.Prefix) error {
	link, err := h.route.LinkByName(name)
	if err != nil {
		return fmt.Errorf("%s: %s: %w", h.Name, name, err)
	}
	// NODAD: nobody else can have the address.
	if err := h.route.AddrAdd(link, &netlink.Addr{IPNet: ipNet(addr), Flags: unix.IFA_F_NODAD}); err != nil {
		return fmt.Errorf("%s: add %v to %s: %w", h.Name, addr, name, err)
	}
	return h.waitForAddr(addr.Addr())
}

// AddRoute sends packets for a prefix out over one of the host's interfaces, to
// the neighbour via; the zero Addr means that the interface has no neighbours (TUN).
// A route that is already there stays.
func (h *Host) AddRoute(to netip.Prefix, name string, via netip.Addr) error {
	link, err := h.route.LinkByName(name)
	if err != nil {
		return fmt.Errorf("%s: %s: %w", h.Name, name, err)
	}
	r := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(to)}
	if via.IsValid() {
		r.Gw = via.AsSlice()
	}
	if err := h.route.RouteAdd(r); err != nil && !errors.Is(err, syscall.EEXIST) {
		return fmt.Errorf("%s: add route to %v over %s: %w", h.Name, to, name, err)
	}
	return nil
}

func veth(a *Host, nameA string, b *Host, nameB string) error {
	pair := &netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: nameA},
		PeerName:      nameB,
		PeerNamespace: netlink.NsFd(b.ns.Fd()),
	}
	if err := a.route.LinkAdd(pair); err != nil {
		return fmt.Errorf("add veth from %s to %s: %w", a.Name, b.Name, err)
	}
	return nil
}

// addInterface gives a device the addresses of member i of subnet n, brings it up
// and notes it.
func (h *Host) addInterface(name string, n, i int) error {
	in := Interface{Name: name, Addr4: member4(n, i), Addr6: member6(n, i)}
	link, err := h.route.LinkByName(name)
	if err != nil {
		return fmt.Errorf("%s: %s: %w", h.Name, name, err)
	}
	if err := h.route.LinkSetUp(link); err != nil {
		return fmt.Errorf("%s: %s up: %w", h.Name, name, err)
	}
	for _, a := range []netip.Prefix{in.Addr4, in.Addr6} {
		if err := h.AddAddr(name, a); err != nil {
			return err
		}
	}
	if len(h.Interfaces) == 0 {
		h.Addr4, h.Addr6 = in.Addr4.Addr(), in.Addr6.Addr()
	}
	h.Interfaces = append(h.Interfaces, in)
	h.usedUntil = n + 1
	return nil
}

func (h *Host) nextName(kind string) string { return fmt.Sprintf("%s%d", kind, len(h.Interfaces)) }

// nextSubnet returns a subnet that none of the hosts uses yet.
func nextSubnet(hosts ...*Host) (int, error) {
	n := 0
	for _, h := range hosts {
		if h.ns == nil {
			return 0, fmt.Errorf("host %s is closed", h.Name)
		}
		n = max(n, h.usedUntil)
	}
	if n >= maxSubnets {
		return 0, fmt.Errorf("no subnet left: a host can be linked %d times", maxSubnets)
	}
	return n, nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
