package client

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"syscall"
)

// LocalAddrs returns the addresses of this machine's interfaces, those of IPv6
// that are link-local with their zone. The error is the system's.
func LocalAddrs() ([]netip.Addr, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list the interfaces: %w", err)
	}
	var all []netip.Addr
	for _, i := range interfaces {
		addrs, err := i.Addrs()
		if err != nil {
			return nil, fmt.Errorf("list the addresses of %s: %w", i.Name, err)
		}
		for _, a := range addrs {
			p, err := netip.ParsePrefix(a.String())
			if err != nil {
				continue // no address of IP
			}
			addr := p.Addr().Unmap()
			if addr.Is6() && addr.IsLinkLocalUnicast() {
				addr = addr.WithZone(i.Name)
			}
			all = append(all, addr)
		}
	}
	return all, nil
}

// CheckLocal reports why nothing can leave this machine from Source and over
// Interface; nil: it can, as far as sockets tell. [Knock] asks too. The error is
// an [fs.ErrPermission] where the system lets the caller bind to no interface.
func (t Target) CheckLocal() error {
	_, err := t.network()
	return err
}

// network returns the wire that leaves from Source and over Interface. It binds
// a socket to them, since only that tells: a system may take more addresses than
// its interfaces have.
func (t Target) network() (network, error) {
	n, err := t.leaving()
	if err != nil || n == (network{}) {
		return n, err
	}
	on := netip.AddrPortFrom(n.source, 0)
	if !n.source.IsValid() {
		on = netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
	}
	missing := fmt.Errorf("this machine does not have the address %s", n.source)
	probe, err := (&net.ListenConfig{Control: n.control}).ListenPacket(context.Background(), "udp", on.String())
	switch {
	case err == nil && n.source.Is4() && isBroadcast(n.source):
		return n, errors.Join(missing, probe.Close())
	case err == nil:
		return n, probe.Close()
	case errors.Is(err, errors.ErrUnsupported) && n.device != nil:
		return n, fmt.Errorf("binding to an interface is not supported on %s: give its address as the source", runtime.GOOS)
	case errors.Is(err, fs.ErrPermission) && n.device != nil:
		return n, fmt.Errorf("bind to interface %s: %w: Linux before 5.7 lets root alone do that", n.device.Name, fs.ErrPermission)
	case unreachable(err):
		return n, missing
	}
	return n, fmt.Errorf("send from here: %w", err)
}

// leaving reads Source and Interface.
func (t Target) leaving() (n network, err error) {
	if t.Interface != "" {
		if n.device, err = net.InterfaceByName(t.Interface); err != nil {
			return n, fmt.Errorf("this machine has no interface %q", t.Interface)
		}
		if n.device.Flags&net.FlagUp == 0 {
			return n, fmt.Errorf("interface %s is down", t.Interface)
		}
	}
	n.source = t.Source.Unmap()
	if n.source.IsUnspecified() || n.source.IsMulticast() {
		return n, fmt.Errorf("%s is no address of a machine", n.source)
	}
	if n.source.Is6() && n.source.IsLinkLocalUnicast() && n.source.Zone() == "" {
		n.source = n.source.WithZone(t.Interface)
	}
	switch zone := n.source.Zone(); {
	case n.source.Is6() && n.source.IsLinkLocalUnicast() && zone == "":
		return n, fmt.Errorf("%s needs its interface, as %s%%eth0", n.source, n.source)
	case zone != "" && zoneNumber(zone) == 0:
		return n, fmt.Errorf("this machine has no interface %q", zone)
	}
	return n, nil
}

// control prepares a socket, as [net.Dialer] and [net.ListenConfig] have it.
func (n network) control(family, _ string, c syscall.RawConn) error {
	return n.prepareRaw(c, strings.HasSuffix(family, "6"))
}

func (n network) prepareRaw(c syscall.RawConn, v6 bool) error {
	var err error
	if e := c.Control(func(fd uintptr) { err = n.prepare(fd, v6) }); e != nil {
		return e
	}
	return err
}

// dialer makes connections on "tcp…" or "udp…".
func (n network) dialer(protocol string) *net.Dialer {
	d := &net.Dialer{Control: n.control}
	if !n.source.IsValid() {
		return d
	}
	from := netip.AddrPortFrom(n.source, 0)
	if strings.HasPrefix(protocol, "udp") {
		d.LocalAddr = net.UDPAddrFromAddrPort(from)
	} else {
		d.LocalAddr = net.TCPAddrFromAddrPort(from)
	}
	return d
}
