package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"golang.org/x/sys/unix"

	"knockkit/server/events"
)

// socketName is the abstract Unix socket that only one service of a network
// namespace can have. To connect to it is to ask the service for a look at the
// kernel: no word is exchanged, and it hangs up when it has looked.
const socketName = "@knockd/run"

// nudgeLimit is how long a command waits for a service that hangs.
const nudgeLimit = 2 * time.Second

// RunningError says that another service looks after this network namespace.
type RunningError struct {
	PID int // 0: not known
}

func (e *RunningError) Error() string {
	return fmt.Sprintf("another knockd run (process %d) looks after this host already", e.PID)
}

// beTheOne makes this process the service of the network namespace, until the
// listener is closed. The error is [*RunningError] when there is one.
//
// A service that has just ended may have left its name to a tool which it was about
// to start: the name is free as soon as that runs.
func beTheOne(ctx context.Context) (*net.UnixListener, error) {
	const tries, pause = 100, 10 * time.Millisecond
	for try := 1; ; try++ {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: socketName})
		switch {
		case err == nil:
			return l, nil
		case !errors.Is(err, unix.EADDRINUSE):
			return nil, fmt.Errorf("taking %s: %w", socketName, err)
		}
		pid, err := running(ctx)
		if err != nil {
			return nil, err
		}
		if try == tries || pid > 0 && !errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
			return nil, &RunningError{pid}
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// running returns the service's process, 0 if there is none. The error tells of
// somebody who should not have the name.
func running(ctx context.Context) (pid int, err error) {
	c, err := (&net.Dialer{}).DialContext(ctx, "unix", socketName)
	if err != nil {
		return 0, nil
	}
	defer c.Close()
	return events.Friend(c.(*net.UnixConn))
}

// Running returns the process of the service that looks after this network
// namespace; 0: there is none.
func Running(ctx context.Context) int {
	pid, _ := running(ctx) // a stranger looks after nothing
	return pid
}

// hearNudges hands on those who have asked for a look, and may, until the context
// ends. Who looks closes them. The name stays ours: rules may still be removed.
func hearNudges(ctx context.Context, l *net.UnixListener, asked chan<- io.Closer) error {
	stop := context.AfterFunc(ctx, func() { l.SetDeadline(time.Now()) })
	defer stop()
	for {
		c, err := l.AcceptUnix()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := events.Friend(c); err != nil {
			c.Close()
			continue
		}
		select {
		case asked <- c:
		case <-ctx.Done():
			c.Close()
		}
	}
}

// Nudge lets a running service look at the kernel, where a lease was given or taken
// in a way that the kernel tells nobody, and returns when it has: a flush that comes
// next is too late to be the first to be seen. Without a service it does nothing.
func Nudge(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, nudgeLimit)
	defer cancel()
	c, err := (&net.Dialer{}).DialContext(ctx, "unix", socketName)
	if err != nil {
		return
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	_, _ = c.Read(make([]byte, 1)) // ends when it hangs up, however that comes
}
