package client

import (
	"errors"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// prepare binds a socket to the interface. It comes before the socket is bound
// to the source.
func (n network) prepare(fd uintptr, _ bool) error {
	if n.source.IsValid() {
		// The port is chosen by where the packet goes, as without a source: the same
		// one does not come again soon. Old kernels cannot.
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	}
	if n.device == nil {
		return nil
	}
	return unix.BindToDevice(int(fd), n.device.Name)
}

// isBroadcast reports whether an IPv4 address that a socket could be bound to is one for
// broadcasts: sockets bind to those, and packets then leave from another address. The list of the
// interfaces' addresses does not tell, since whole prefixes may be local (127.0.0.0/8). A
// connection does, where broadcasts were not allowed: it asks the routes, and sends nothing.
func isBroadcast(a netip.Addr) bool {
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_BROADCAST, 0) })
	}}
	conn, err := d.Dial("udp", netip.AddrPortFrom(a, 9).String()) // 9 is the port of discard
	if err != nil {
		return errors.Is(err, unix.EACCES) || a == netip.AddrFrom4([4]byte{255, 255, 255, 255})
	}
	conn.Close()
	return false
}
