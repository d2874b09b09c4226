//go:build unix

package client

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// tcpFlight is a connection that is being made.
type tcpFlight struct{ socket *os.File }

// connect sends one SYN. It uses the system call itself because the caller
// must know when the SYN has left, which net.Dialer does not tell. With abort
// an accepted connection is reset instead of closed, so that it leaves nothing
// behind on either side.
func (n network) connect(to netip.AddrPort, abort bool) (flight, error) {
	fd, err := tcpSocket(to.Addr())
	if err != nil {
		return nil, err
	}
	if err := n.bind(fd, to.Addr().Is6()); err != nil {
		unix.Close(fd)
		return nil, err
	}
	if abort {
		// Without it only the closing differs: not worth failing for.
		_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	err = unix.Connect(fd, sockaddr(to))
	if reply, sent := replyOf(err); sent {
		unix.Close(fd)
		return landed(reply), nil
	}
	if err != nil && !errors.Is(err, unix.EINPROGRESS) {
		unix.Close(fd)
		return nil, err
	}
	return &tcpFlight{os.NewFile(uintptr(fd), "tcp")}, nil
}

// bind binds a socket to the interface and the source.
func (n network) bind(fd int, v6 bool) error {
	if err := n.prepare(uintptr(fd), v6); err != nil || !n.source.IsValid() {
		return err
	}
	return unix.Bind(fd, sockaddr(netip.AddrPortFrom(n.source, 0)))
}

func (f *tcpFlight) wait(ctx context.Context, until time.Time) Reply {
	defer f.socket.Close()
	stop := endWith(ctx, f.socket.SetWriteDeadline, until)
	defer stop()
	raw, err := f.socket.SyscallConn()
	if err != nil {
		return NoReply
	}
	reply := NoReply
	err = raw.Write(func(fd uintptr) (done bool) {
		code, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		if err != nil {
			return true
		}
		if code != 0 {
			reply, _ = replyOf(syscall.Errno(code))
			return true
		}
		if _, err := unix.Getpeername(int(fd)); err != nil {
			return false // not connected yet
		}
		reply = Accepted
		return true
	})
	if err != nil {
		return NoReply
	}
	return reply
}

// tcpSocket makes a non-blocking socket that programs we start do not inherit.
func tcpSocket(to netip.Addr) (int, error) {
	family := unix.AF_INET6
	if to.Is4() {
		family = unix.AF_INET
	}
	syscall.ForkLock.RLock()
	fd, err := unix.Socket(family, unix.SOCK_STREAM, unix.IPPROTO_TCP)
	if err == nil {
		unix.CloseOnExec(fd)
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return -1, err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func sockaddr(to netip.AddrPort) unix.Sockaddr {
	if to.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16(), ZoneId: zoneNumber(to.Addr().Zone())}
}
