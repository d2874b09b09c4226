package claim

import (
	"context"
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"

	"knockkit/internal/rights"
)

// The abstract Unix sockets by which older versions hold the lock and are the service.
// Any local user can take them. One that is held by root, or by our own user, while we
// have the group is held by an older knockd.
const (
	LockName    = "@knockd/lock"
	ServiceName = "@knockd/run"
)

// NameError says that somebody else has a name.
type NameError struct {
	Name    string
	PID     int // 0: not known
	UID     int
	Trusted bool // root or our own user: another knockd
}

func (e *NameError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("a process that lets nobody connect has the abstract socket %s", e.Name)
	}
	return fmt.Sprintf("process %d of user %d has the abstract socket %s", e.PID, e.UID, e.Name)
}

// TakeName takes a name, so that older versions see us. The error is a [*NameError] where
// somebody has it. It waits for nobody.
func TakeName(name string) (*net.UnixListener, error) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: name})
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return nil, whoHas(name)
	case err != nil:
		return nil, err
	}
	if err := limit(l); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// backlog is how many connections may wait to be accepted. The default would be thousands, and a
// caller behind that many strangers would wait long.
const backlog = 128

func limit(l *net.UnixListener) error {
	raw, err := l.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = unix.Listen(int(fd), backlog) })
	return errors.Join(err, failed)
}

// whoHas asks the kernel for the process that listens. Nothing is known of a process that no
// connection can be made to, as with a full backlog.
func whoHas(name string) *NameError {
	c, peer, err := rights.Dial(context.Background(), name) // answers at once, also when the backlog is full
	if err == nil {
		_ = c.Close()
	}
	return &NameError{Name: name, PID: peer.PID, UID: peer.UID, Trusted: err == nil}
}

// Older returns the knockd of an older version that has a name, and whether there is one.
func Older(name string) (h Owner, found bool) {
	e := whoHas(name)
	if !e.Trusted {
		return Owner{}, false
	}
	return Owner{PID: e.PID, Command: commandOf(e.PID)}, true
}
