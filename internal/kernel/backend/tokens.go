package backend

import (
	"strings"
	"time"

	"knockkit/protocol"
)

// Tokens is a moment of what the kernel has for signed profiles.
type Tokens struct {
	Profiles map[string]uint16 // signed profiles that are installed: the upper half of their keys' numbers
	Keys     []LoadedKey       // whose tokens may open them, and former ones

	Known bool  // false: nobody knows which tokens were used up, and the slots have no meaning
	Slot  int64 // the highest slot of which tokens were loaded
	First int64 // the first slot that was loaded since nobody knew which tokens were used up
}

// LoadedKey is a key that the kernel knows. The kernel has its tokens, not its secret.
type LoadedKey struct {
	Profile, User string
	ID            string // see [protocol.Key.ID]
	Number        uint32 // stands for it in the kernel
	Former        bool   // its tokens open nothing any more
	Dropped       int64  // of a former key: the highest slot when it became one
	Leases        int    // of a former key: leases that it has opened, and that last
}

// String names the key: profile, user and ID.
func (k LoadedKey) String() string { return strings.Join([]string{k.Profile, k.User, k.ID}, " ") }

// TokenChange is what a commit does to the [Tokens] of a reading.
type TokenChange struct {
	Slot   int64          // the highest slot of which tokens are loaded from now on
	First  int64          // see [Tokens]
	Clear  bool           // take all tokens out first
	Add    []protocol.Key // keys that the kernel does not know
	Drop   []LoadedKey    // keys that become former ones
	Forget []LoadedKey    // former keys that no lease names
	Gone   []SlotOf       // tokens to take out, whether they are there or not
	Load   []SlotOf       // tokens to load, the most urgent slot first

	// Spent reports whether a token was spent at another server, and is not to be loaded; nil: none was.
	Spent func(protocol.Token) bool
}

// SlotOf is the tokens of some keys in one slot, which expire after Left. To take them out it is not
// needed.
type SlotOf struct {
	Slot int64
	Keys []protocol.Key
	Left time.Duration
}
