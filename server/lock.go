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

// Lock is the right to commit. One knockd of a network namespace has it; tools that have inherited
// it keep it until they end. To change what is installed takes another right first, which a trial
// keeps until its end: so commands that give and end leases do not wait for the trial.
type Lock struct {
	installs bool         // the other right is needed too
	install  *claim.Claim // that right; nil: not needed, not had yet, or a trial has taken it over
	claim    *claim.Claim
	name     *net.UnixListener // of older versions; nil: somebody else has it
}

// LockError says that another knockd has had the lock for 30 s, and which process it is. Nothing was
// changed.
type LockError struct{ Owner Owner }

func (e *LockError) Error() string {
	return fmt.Sprintf("another knockd (%s) is changing the rules", e.Owner)
}

// lock takes the lock for a change of leases.
func (s *Server) lock(ctx context.Context) (*Lock, error) { return s.wait(ctx, &Lock{}) }

// lockInstalls takes the lock for a change of what is installed.
func (s *Server) lockInstalls(ctx context.Context) (*Lock, error) {
	return s.wait(ctx, &Lock{installs: true})
}

func (s *Server) wait(ctx context.Context, l *Lock) (*Lock, error) {
	ctx, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	return l.wait(ctx, s.Waiting)
}

// TakeLock waits for the right to commit until the context ends. Errors: a [*LockError] at its
// deadline, its error when it is cancelled, [ErrPrivilege].
func TakeLock(ctx context.Context) (*Lock, error) { return (&Lock{}).wait(ctx, nil) }

// wait takes the lock. It calls waiting, which may be nil, when it has waited for a while, and again
// when it waits for somebody else, or for something else.
func (l *Lock) wait(ctx context.Context, waiting func(Owner)) (*Lock, error) {
	var told *Owner
	tell := time.Now().Add(lockQuiet)
	for pause := lockSoon; ; pause = min(2*pause, lockLate) {
		done, err := l.take()
		if err != nil {
			l.Release()
			return nil, err
		}
		if done {
			return l, nil
		}
		if waiting != nil && time.Now().After(tell) {
			owner := l.owner()
			if told == nil || !owner.Same(*told) {
				waiting(owner)
			}
			told, tell = &owner, time.Now().Add(lockQuiet)
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

// take takes the claims, then the name by which older versions lock, and reports whether all is
// settled. If root or our own user has the name, an older knockd is at work and is waited for.
// Another user's hold on the name means nothing: anybody can take it.
func (l *Lock) take() (done bool, err error) {
	if l.installs && l.install == nil {
		if l.install, err = claim.Take(claim.Install); err != nil {
			return false, notTaken(err)
		}
	}
	if l.claim == nil {
		if l.claim, err = claim.Take(claim.Lock); err != nil {
			return false, notTaken(err)
		}
	}
	l.name, err = claim.TakeName(claim.LockName)
	if has := new(claim.NameError); errors.As(err, &has) {
		return !has.Trusted, nil
	}
	return true, nil // where a name cannot be had at all, no older knockd works
}

// notTaken is the error of a claim, unless somebody else has it.
func notTaken(err error) error {
	if errors.Is(err, claim.ErrTaken) {
		return nil
	}
	return fmt.Errorf("taking knockd's lock: %w", err)
}

// owner returns the process that is waited for, as far as can be seen.
func (l *Lock) owner() Owner {
	var h Owner // what is not known is not said
	switch {
	case l.installs && l.install == nil:
		h, _, _ = claim.OwnerOf(claim.Install)
	case l.claim == nil:
		h, _, _ = claim.OwnerOf(claim.Lock)
	default:
		h, _ = claim.Older(claim.LockName)
	}
	return h
}

// files are inherited by the tools.
func (l *Lock) files() (all []*os.File) {
	if l == nil {
		return nil
	}
	for _, c := range []*claim.Claim{l.claim, l.install} {
		if c != nil {
			all = append(all, c.File())
		}
	}
	return all
}

// Release gives the lock up. It does nothing for a nil lock, or when it is called again.
func (l *Lock) Release() {
	if l == nil {
		return
	}
	if l.name != nil {
		l.name.Close()
	}
	for _, c := range []*claim.Claim{l.claim, l.install} {
		if c != nil {
			c.Close()
		}
	}
	*l = Lock{}
}
