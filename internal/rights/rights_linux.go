package rights

import (
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// Has reports whether this process has a capability of the first 32, such as
// [unix.CAP_NET_ADMIN], in its own user namespace.
func Has(capability uint) bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	return unix.Capget(&header, &data[0]) == nil && data[0].Effective&(1<<capability) != 0
}

// Peer is the process at the other end of a Unix socket: for who has connected, the
// one that listens.
type Peer struct{ PID, UID int }

// PeerOf asks the kernel.
func PeerOf(c *net.UnixConn) (Peer, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return Peer{}, err
	}
	var cred *unix.Ucred
	var failed error
	if err := raw.Control(func(fd uintptr) {
		cred, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return Peer{}, err
	}
	if failed != nil {
		return Peer{}, failed
	}
	return Peer{int(cred.Pid), int(cred.Uid)}, nil
}

// Friend reports whether it is root's or our own user's: only those are believed.
func (p Peer) Friend() bool { return p.UID == 0 || p.UID == os.Geteuid() }
