package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"knockkit/internal/rights"
)

// lockName is an abstract Unix socket: one per network namespace, gone with the
// last process that has it open, and no file that could be left behind.
const lockName = "@knockd/lock"

// lockPatience is how long another knockd may be at work.
const lockPatience = 30 * time.Second

// Lock is held by the one knockd that changes the rules of a network namespace.
type Lock struct {
	listener *net.UnixListener
	file     *os.File
	released func() // may be nil
}

// LockError says who holds the lock.
type LockError struct {
	PID, UID int
	Stranger bool // not root, and not us: somebody who should not have it
}

func (e *LockError) Error() string {
	if e.Stranger {
		return fmt.Sprintf("process %d of user %d holds knockd's lock (the abstract socket %s) and is not root: end it", e.PID, e.UID, lockName)
	}
	return fmt.Sprintf("another knockd (process %d) is changing the rules", e.PID)
}

// lock takes the host's lock for the server's backend.
func (s *Server) lock(ctx context.Context) (*Lock, error) {
	ctx, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	l, err := TakeLock(ctx)
	if err != nil {
		return nil, err
	}
	s.backend.Hold(l.file)
	l.released = func() { s.backend.Hold(nil) }
	return l, nil
}

// TakeLock waits for the lock until the context ends; then it says who has it.
func TakeLock(ctx context.Context) (*Lock, error) {
	for {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: lockName})
		if err == nil {
			f, err := l.File()
			if err != nil {
				return nil, errors.Join(err, l.Close())
			}
			return &Lock{listener: l, file: f}, nil
		}
		if !errors.Is(err, unix.EADDRINUSE) {
			return nil, fmt.Errorf("taking knockd's lock: %w", err)
		}
		if err := waitForHolder(ctx); err != nil {
			return nil, err
		}
	}
}

// Release gives the lock up. Tools that still run keep it until they end.
func (l *Lock) Release() {
	if l.released != nil {
		l.released()
	}
	l.file.Close()
	l.listener.Close()
}

// waitForHolder returns when the holder may have gone: its end of a connection
// that nobody ever answers is closed then.
func waitForHolder(ctx context.Context) error {
	c, err := (&net.Dialer{}).DialContext(ctx, "unix", lockName)
	if err != nil {
		if ctx.Err() != nil {
			return &LockError{}
		}
		return nil // gone between the two calls: try again
	}
	defer c.Close()
	holder, err := rights.PeerOf(c.(*net.UnixConn))
	if err != nil {
		return err
	}
	e := &LockError{PID: holder.PID, UID: holder.UID, Stranger: !holder.Friend()}
	if e.Stranger {
		return e
	}
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Now()) })
	defer stop()
	_, _ = c.Read(make([]byte, 1)) // ends with the holder, or with the context
	if ctx.Err() != nil {
		return e
	}
	return nil
}
