package server

import (
	"context"
	"time"

	"knockkit/internal/kernel/backend"
	"knockkit/protocol"
)

// KeyRefresh says which keys the kernel is to know, and what was in a kernel before.
type KeyRefresh struct {
	Now  time.Time
	Keys []protocol.Key // all that may open, of all profiles

	// Fresh are the IDs of keys that were made a moment ago: no kernel has ever had their tokens, so those
	// of all current slots are loaded at once.
	Fresh []string

	// Gone are keys that were taken away, as far as they are known: their unused tokens are taken out of
	// the kernel. Keys that are not in Keys open nothing any more, known or not.
	Gone []protocol.Key

	Highest int64                  // the highest slot that was ever loaded, by a record on disk; 0: there is none
	Record  func(slot int64) error // writes that record, before the kernel gets the tokens

	// Clear says that nobody knows which tokens were used up, as after a jump of the clock: those that the
	// kernel has are taken out.
	Clear bool
}

// KeyState is what the kernel has after a refresh.
type KeyState struct {
	Signed []string            // signed profiles that are installed, by name; none: there was nothing to do
	Keys   []backend.LoadedKey // that the kernel knows
	Slot   int64               // the highest slot of which tokens are loaded
	Added  []backend.LoadedKey // keys that it did not know before
	Ended  []backend.LoadedKey // keys that open nothing any more

	// Opens is when a client whose clock is right can knock again; the zero value: now. Until then tokens
	// may have been used up that nobody remembers.
	Opens time.Time
	Why   string // why not now: "the record of used tokens is lost"
}

// RefreshKeys gives the kernel the tokens of the slots before, now and next. Each token comes into a
// kernel once: after the kernel has lost its record of used ones, only slots that were never in a
// kernel are loaded. Errors: those of the lock and the backend, [ErrUnsupported] of one without
// tokens, that of Record.
func (s *Server) RefreshKeys(ctx context.Context, r KeyRefresh) (KeyState, error) {
	return KeyState{}, ErrUnsupported
}

// RevokeUser ends what a user has opened of a signed profile. A lease that others have knocked for too
// goes on for them. Errors: those of [Server.Revoke].
func (s *Server) RevokeUser(ctx context.Context, name, user string, cut bool) (Revoked, error) {
	return Revoked{}, ErrUnsupported
}
