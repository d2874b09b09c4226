package rights

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Has reports whether this process has a capability of the first 32, such as
// [unix.CAP_NET_ADMIN], in its own user namespace.
func Has(capability uint) bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	return unix.Capget(&header, &data[0]) == nil && data[0].Effective&(1<<capability) != 0
}

// Running reports whether there is a process of that number.
func Running(pid int) bool { // no process has a number above 1<<22
	return pid > 0 && pid <= 1<<22 && !errors.Is(unix.Kill(pid, 0), unix.ESRCH)
}

// Peer is the process at the other end of a Unix socket; for a client, the one that listens.
type Peer struct{ PID, UID int }

// peerOf asks the kernel.
func peerOf(c *net.UnixConn) (Peer, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return Peer{}, err
	}
	var cred *unix.Ucred
	var failed error
	err = raw.Control(func(fd uintptr) {
		cred, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err := errors.Join(err, failed); err != nil {
		return Peer{}, err
	}
	return Peer{int(cred.Pid), int(cred.Uid)}, nil
}

// Trusted reports whether it is root's or our own user's: only those are believed.
func (p Peer) Trusted() bool { return p.UID == 0 || p.UID == os.Geteuid() }

// Dial connects to an abstract Unix socket. Where a stranger is at its other end, that is an error.
func Dial(ctx context.Context, name string) (*net.UnixConn, Peer, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, "unix", name)
	if err != nil {
		return nil, Peer{}, err
	}
	p, err := peerOf(c.(*net.UnixConn))
	if err == nil && !p.Trusted() {
		err = fmt.Errorf("process %d of user %d is at the other end of %s: %w", p.PID, p.UID, name, unix.EPERM)
	}
	if err != nil {
		return nil, p, errors.Join(err, c.Close())
	}
	return c.(*net.UnixConn), p, nil
}

// strangerPause is how long nobody is accepted after a stranger, or after a failure: any
// local user can connect to an abstract socket, as often as a processor allows.
const strangerPause = 5 * time.Millisecond

// Accept passes on the connections of trusted peers ([Peer.Trusted]), until the listener is
// closed or the context ends and the listener's deadline is over. Strangers are hung up
// on. That no file can be opened, or the like, is waited out.
func Accept(ctx context.Context, l *net.UnixListener, friend func(*net.UnixConn, Peer)) {
	for ctx.Err() == nil {
		c, err := l.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			if p, err := peerOf(c); err == nil && p.Trusted() {
				friend(c, p)
				continue
			}
			c.Close()
		}
		select {
		case <-time.After(strangerPause):
		case <-ctx.Done():
		}
	}
}

// MayLoadModules reports whether the process is the machine's own root with all its
// powers: that of a user namespace, or of a service that may not, loads modules only
// by using them.
func MayLoadModules() bool {
	ids, err := os.ReadFile("/proc/self/uid_map")
	fields := strings.Fields(string(ids))
	if err != nil || len(fields) != 3 || fields[1] != "0" || fields[2] != "4294967295" {
		return false
	}
	return Has(unix.CAP_SYS_MODULE)
}

// ErrNoNetwork says that this process can make no network namespace.
var ErrNoNetwork = errors.New("no network namespace can be made to try it in")

// InEmptyNetwork calls f on a thread in a network namespace of its own, which goes with the
// thread. Errors: [ErrNoNetwork]; those of f.
func InEmptyNetwork(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("%w: %w", ErrNoNetwork, err)
			return
		}
		done <- f()
	}()
	return <-done
}
