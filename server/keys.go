package server

import (
	"context"
	"errors"
	"time"

	"knockkit/internal/kernel/backend"
	"knockkit/protocol"
)

// KeyRefresh says which keys the kernel is to know, and what was in a kernel before.
type KeyRefresh struct {
	Now  time.Time
	Keys []protocol.Key // all that may open, of all profiles; nil: Reread says them

	// Ends returns when a key ends, the zero time for one without an end; nil: none has one. No token of a
	// key is longer in the kernel.
	Ends func(protocol.Key) time.Time

	// Fresh are the IDs of keys that were made a moment ago: no kernel has ever had their tokens, so those
	// of all current slots are loaded at once.
	Fresh []string

	// Gone are keys that were taken away, as far as they are known: their unused tokens are taken out of
	// the kernel. Keys that are not in Keys open nothing any more, known or not.
	Gone []protocol.Key

	// Reread returns Keys and Gone anew, and from then on Ends is about those; nil: they are sure. It is
	// called once at most, before a key is loaded or taken out, while no other command changes the kernel:
	// another may have done so since Keys was read.
	Reread func() (keys, gone []protocol.Key, err error)

	Highest int64                  // the highest slot that was ever loaded, by a record on disk; 0: there is none
	Record  func(slot int64) error // writes that record, before the kernel gets the tokens

	// Spent reports whether a token was spent at another server of the fleet; nil: none was. It is called
	// while no other command changes the kernel.
	Spent func(protocol.Token) bool

	// Clear says that nobody knows which tokens were used up, as after a jump of the clock: those that the
	// kernel has are taken out.
	Clear bool
}

// KeyState is what the kernel has after a refresh.
type KeyState struct {
	Signed []string            // signed profiles that are installed, by name; none: there was nothing to do
	Keys   []backend.LoadedKey // that may open
	Slot   int64               // the highest slot of which tokens are loaded
	Added  []backend.LoadedKey // keys that it did not know before; their Number is not set
	Ended  []backend.LoadedKey // keys that open nothing any more

	// Opens is when a client whose clock is right can knock again; the zero value: now. Fresh keys open at
	// once all the same.
	Opens time.Time
	Why   ShutReason // why not now
}

// ShutReason says why signed profiles are shut for a while.
type ShutReason string

// The reasons.
const (
	ShutUnknown ShutReason = "which tokens were used up is not known" // no kernel has the record: after a boot, a flush, a first start
	ShutClock   ShutReason = "the clock was set back"                 // to before slots that were loaded
)

// tokenBackend is a backend that checks tokens.
type tokenBackend interface {
	Tokens(ctx context.Context) (backend.Tokens, error)
	CommitTokens(ctx context.Context, was backend.Tokens, c backend.TokenChange) error
	TakeOutTokens(ctx context.Context, tokens []protocol.Token) error
}

// RefreshKeys gives the kernel the tokens of the slots before, now and next. The tokens of a key and slot
// come into a kernel once: where no kernel knows any more which were used up, only slots are loaded that
// none had. Errors: those of the lock and the backend; that of Record, where Ended says which keys open
// nothing any more all the same.
func (s *Server) RefreshKeys(ctx context.Context, r KeyRefresh) (KeyState, error) {
	b, ok := s.backend.(tokenBackend)
	if !ok {
		return KeyState{}, nil // and no signed profile
	}
	began := time.Now()
	lock, err := s.lock(ctx)
	if err != nil {
		return KeyState{}, err
	}
	defer lock.Release()
	r.Now = r.Now.Add(time.Since(began)) // another command may have had the lock for long
	sure := r.Reread == nil
	for try := 1; ; try++ {
		is, err := b.Tokens(ctx)
		if err != nil || len(is.Profiles) == 0 {
			return KeyState{}, err
		}
		change, state := planTokens(is, r)
		if !sure && (r.Keys == nil || change != nil && len(change.Add)+len(change.Drop) > 0) {
			if r.Keys, r.Gone, err = r.Reread(); err != nil {
				return KeyState{}, err
			}
			sure = true
			change, state = planTokens(is, r)
		}
		if change == nil {
			return state, nil
		}
		if r.Record != nil && change.Slot > r.Highest {
			if err := r.Record(change.Slot); err != nil {
				dropped, failed := dropOnly(ctx, b, is, *change)
				return KeyState{Ended: dropped}, errors.Join(err, failed)
			}
			r.Highest = change.Slot
		}
		change.Spent = r.Spent
		if err = b.CommitTokens(ctx, is, *change); !errors.Is(err, backend.ErrStale) || try == staleTries {
			return state, err
		}
	}
}

// TakeOutTokens takes tokens out of the kernel that were spent at another server of the fleet. Errors: those
// of the lock and the backend.
func (s *Server) TakeOutTokens(ctx context.Context, tokens []protocol.Token) error {
	b, ok := s.backend.(tokenBackend)
	if !ok {
		return nil // and no signed profile
	}
	lock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer lock.Release()
	for try := 1; ; try++ {
		if err = b.TakeOutTokens(ctx, tokens); !errors.Is(err, backend.ErrStale) || try == staleTries {
			return err
		}
	}
}

// dropOnly lets the keys that go open nothing any more, where no token can be loaded, and returns them.
func dropOnly(ctx context.Context, b tokenBackend, is backend.Tokens, c backend.TokenChange) ([]backend.LoadedKey, error) {
	if !is.Known || len(c.Drop)+len(c.Gone) == 0 {
		return nil, nil
	}
	err := b.CommitTokens(ctx, is, backend.TokenChange{Slot: is.Slot, First: is.First, Drop: c.Drop, Gone: c.Gone})
	if err != nil {
		return nil, err
	}
	return c.Drop, nil
}
