package service

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"

	"knockkit/server/events"
)

// socketName is the abstract Unix socket that only one service of a network
// namespace can have. To connect to it is to ask the service for a look at the
// kernel: no word is exchanged.
const socketName = "@knockd/run"

// nudgeLimit is how long a command waits to ask a service that hangs.
const nudgeLimit = 200 * time.Millisecond

// RunningError says that another service looks after this network namespace.
type RunningError struct {
	PID int // 0: not known
}

func (e *RunningError) Error() string {
	return fmt.Sprintf("another knockd run (process %d) looks after this host already", e.PID)
}

// beTheOne makes this process the service of the network namespace, until the
// listener is closed. The error is [*RunningError] when there is one.
func beTheOne(ctx context.Context) (*net.UnixListener, error) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: socketName})
	switch {
	case err == nil:
		return l, nil
	case !errors.Is(err, unix.EADDRINUSE):
		return nil, fmt.Errorf("taking %s: %w", socketName, err)
	}
	running := &RunningError{}
	if c, err := (&net.Dialer{}).DialContext(ctx, "unix", socketName); err == nil {
		defer c.Close()
		if running.PID, err = events.Friend(c.(*net.UnixConn)); err != nil {
			return nil, err // somebody who should not have the name
		}
	}
	return nil, running
}

// hearNudges says on changed when somebody who may has asked for a look.
func hearNudges(l *net.UnixListener, changed chan<- struct{}) {
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			return // closed at the end
		}
		_, err = events.Friend(c)
		c.Close()
		if err != nil {
			continue
		}
		select {
		case changed <- struct{}{}:
		default: // one is waiting
		}
	}
}

// Nudge asks a running service to look at the kernel, where a lease was given or
// taken in a way that the kernel tells nobody. Without a service it does nothing.
func Nudge(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, nudgeLimit)
	defer cancel()
	if c, err := (&net.Dialer{}).DialContext(ctx, "unix", socketName); err == nil {
		c.Close()
	}
}
