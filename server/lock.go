package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"knockkit/internal/kernel/claim"
)

// lockPatience is how long a command waits for the lock.
const lockPatience = 30 * time.Second

// The pauses between two attempts to take the lock, the first and the longest, and how long a
// command waits for it before it says so.
const (
	lockSoon  = 5 * time.Millisecond
	lockLate  = 100 * time.Millisecond
	lockQuiet = time.Second
)

// Lock is the right to change the rules of a network namespace. One knockd has it; tools that have
// inherited it keep it until they end.
type Lock struct {
	claim *claim.Claim
	name  *net.UnixListener // of older versions; nil: somebody else has it
}

// LockError says that another knockd has had the lock for 30 s, and which process it is. Nothing was
// changed.
type LockError struct{ Owner Owner }

func (e *LockError) Error() string {
	return fmt.Sprintf("another knockd (%s) is changing the rules", e.Owner)
}

// lock takes the host's lock.
func (s *Server) lock(ctx context.Context) (*Lock, error) {
	ctx, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	return takeLock(ctx, s.Waiting)
}

// TakeLock waits for the lock until the context ends. Errors: a [*LockError] at its
// deadline, its error when it is cancelled, [ErrPrivilege].
func TakeLock(ctx context.Context) (*Lock, error) { return takeLock(ctx, nil) }

// takeLock calls waiting, which may be nil, once it has waited for a while.
func takeLock(ctx context.Context, waiting func(Owner)) (*Lock, error) {
	l := &Lock{}
	began, told := time.Now(), false
	for pause := lockSoon; ; pause = min(2*pause, lockLate) {
		done, err := l.take()
		if err != nil {
			return nil, err
		}
		if done {
			return l, nil
		}
		if !told && waiting != nil && time.Since(began) > lockQuiet {
			told = true
			waiting(l.owner())
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			err := ctx.Err()
			if errors.Is(err, context.DeadlineExceeded) {
				err = &LockError{l.owner()}
			}
			l.Release()
			return nil, err
		}
	}
}

// take takes the claim, then the name by which older versions lock, and reports whether both are
// settled. If root or our own user has the name, an older knockd is at work and is waited for.
// Another user's hold on the name means nothing: anybody can take it.
func (l *Lock) take() (done bool, err error) {
	if l.claim == nil {
		l.claim, err = claim.Take(claim.Lock)
		if errors.Is(err, claim.ErrTaken) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("taking knockd's lock: %w", err)
		}
	}
	l.name, err = claim.TakeName(claim.LockName)
	if has := new(claim.NameError); errors.As(err, &has) {
		return !has.Trusted, nil
	}
	return true, nil // where a name cannot be had at all, no older knockd works
}

// owner returns the process that has the lock, as far as can be seen.
func (l *Lock) owner() Owner {
	var h Owner // what is not known is not said
	if l.claim != nil {
		h, _ = claim.Older(claim.LockName)
	} else {
		h, _, _ = claim.OwnerOf(claim.Lock)
	}
	return h
}

// file is inherited by the tools.
func (l *Lock) file() *os.File { return l.claim.File() }

// Release gives the lock up. It does nothing for a nil lock.
func (l *Lock) Release() {
	if l == nil {
		return
	}
	if l.name != nil {
		l.name.Close()
	}
	if l.claim != nil {
		l.claim.Close()
	}
}
