package backend

import (
	"time"

	"knockkit/protocol"
)

// Tokens is a moment of what the kernel has for signed profiles.
type Tokens struct {
	Profiles []string    // signed profiles that are installed, by name
	Keys     []LoadedKey // whose tokens may open them, and keys that only leases name
	Slot     int64       // the highest slot of which tokens were loaded
	Known    bool        // false: nobody knows which tokens were used up, and Slot has no meaning
}

// LoadedKey is a key that the kernel knows. The kernel has its tokens, not its secret.
type LoadedKey struct {
	Profile, User string
	ID            string // see [protocol.Key.ID]
	Former        bool   // its tokens open nothing any more
	Leases        int    // that it has opened, and that last
}

// TokenChange is what a commit does to the tokens of a [Tokens]. Its error is [ErrStale] where the
// kernel has lost, or somebody has changed, what that reading saw.
type TokenChange struct {
	Slot  int64          // the highest slot of which tokens are loaded from now on
	Add   []protocol.Key // keys that the kernel does not know
	Drop  []LoadedKey    // keys whose tokens are to open nothing any more
	Load  []SlotOf       // tokens to load
	Clear bool           // take all tokens out first: nobody knows which of them were used up
	Gone  []SlotOf       // tokens to take out, whether they are there or not
}

// SlotOf is the tokens of some keys in one slot, which expire after Left.
type SlotOf struct {
	Slot int64
	Keys []protocol.Key
	Left time.Duration
}
