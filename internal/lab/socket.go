//go:build linux

package lab

import (
	"context"
	"net"
)

// Sockets stay in the namespace in which they were made, so any goroutine may use
// what these methods return. Addresses are numeric: names would be looked up by
// goroutines outside.

// Listen opens a listening socket on the host: network and address as for
// [net.Listen].
func (h *Host) Listen(network, address string) (l net.Listener, err error) {
	err = h.Do(func() error {
		l, err = net.Listen(network, address)
		return err
	})
	return l, err
}

// ListenPacket opens a datagram socket on the host: network and address as for
// [net.ListenPacket].
func (h *Host) ListenPacket(network, address string) (c net.PacketConn, err error) {
	err = h.Do(func() error {
		c, err = net.ListenPacket(network, address)
		return err
	})
	return c, err
}

// Dial connects from the host: network and address as for [net.Dial].
func (h *Host) Dial(ctx context.Context, network, address string) (c net.Conn, err error) {
	err = h.Do(func() error {
		c, err = new(net.Dialer).DialContext(ctx, network, address)
		return err
	})
	return c, err
}
