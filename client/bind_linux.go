package client

import "golang.org/x/sys/unix"

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
