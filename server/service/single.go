package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"knockkit/internal/kernel/claim"
	"knockkit/internal/rights"
)

// nameRetry is how soon a name is tried again that somebody else has.
const nameRetry = 10 * time.Second

// RunningError says that another service looks after this network namespace.
type RunningError struct{ Owner claim.Owner }

func (e *RunningError) Error() string {
	return fmt.Sprintf("another knockd run (%s) looks after this host already", e.Owner.Process())
}

// single makes this process the service of its network namespace: by the claim. Commands ask for a
// check of the kernel at the name: a connection is the request, and the service answers and closes
// it after the check.
type single struct {
	claim *claim.Claim
	name  *net.UnixListener // nil: somebody else has it
}

// claimService makes this process the service of the network namespace, until it is closed. The
// error is [*RunningError] when there is one already.
//
// A service that has just ended may have left its claim to a tool which it was about to start: the
// claim is free as soon as that tool runs.
func claimService(ctx context.Context) (*single, error) {
	const tries, pause = 100, 10 * time.Millisecond
	for try := 1; ; try++ {
		one, err := tryClaim()
		running := new(RunningError)
		if err == nil || !errors.As(err, &running) || rights.Running(running.Owner.PID) {
			return one, err
		}
		if try == tries { // the owner may be another by now
			running.Owner, _ = Running()
			return nil, running
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// tryClaim tries once. The owner in a [*RunningError] is the process that made itself the service,
// if it still runs.
func tryClaim() (*single, error) {
	c, err := claim.Take(claim.Service)
	if errors.Is(err, claim.ErrTaken) {
		return nil, &RunningError{claim.Owner{PID: claim.Opener(claim.Service)}}
	}
	if err != nil {
		return nil, fmt.Errorf("being the only service: %w", err)
	}
	name, err := claim.TakeName(claim.ServiceName)
	if has := new(claim.NameError); errors.As(err, &has) && has.Trusted {
		c.Close()
		return nil, &RunningError{claim.Owner{PID: has.PID}}
	}
	return &single{c, name}, nil
}

// Close lets another process be the service.
func (s *single) Close() error {
	if s.name != nil {
		s.name.Close()
	}
	return s.claim.Close()
}

// Running returns the process of the service in this network namespace, and whether there is one, as
// far as this process can see.
func Running() (service claim.Owner, found bool) {
	if h, found, _ := claim.OwnerOf(claim.Service); found {
		return h, true
	}
	return claim.Older(claim.ServiceName)
}

// acceptNudges passes on commands that ask for a check, and may, until the context ends. The keeper
// closes them after the check. The name stays ours, since rules may still be removed. While somebody
// else has it, commands cannot ask, and the service checks more often.
func (s *Service) acceptNudges(ctx context.Context, one *single, asked chan<- io.WriteCloser) error {
	for one.name == nil {
		var err error
		if one.name, err = claim.TakeName(claim.ServiceName); err == nil {
			break
		}
		if !s.noCommands.Swap(true) {
			s.Log.Warn("commands cannot ask for a look at the kernel", "err", err)
			s.requestCheck()
		}
		select {
		case <-time.After(nameRetry):
		case <-ctx.Done():
			return nil
		}
	}
	s.noCommands.Store(false)
	l := one.name
	stop := context.AfterFunc(ctx, func() { l.SetDeadline(time.Now()) })
	defer stop()
	rights.Accept(ctx, l, func(c *net.UnixConn, _ rights.Peer) {
		select {
		case asked <- c:
		case <-ctx.Done():
			c.Close()
		}
	})
	return nil
}
