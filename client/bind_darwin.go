package client

import "golang.org/x/sys/unix"

// prepare binds a socket to the interface.
func (n network) prepare(fd uintptr, v6 bool) error {
	switch {
	case n.device == nil:
		return nil
	case v6:
		return unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_BOUND_IF, n.device.Index)
	}
	return unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BOUND_IF, n.device.Index)
}
