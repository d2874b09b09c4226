package backend

import (
	"net/netip"
	"time"

	"knockkit/internal/kernel/iptables/save"
	"knockkit/protocol"
)

// Depth says what a reading has beside the record.
type Depth struct {
	Rules     bool            // the rules themselves: Drift, Foreign, and what [Planner.Plan] needs
	Leases    bool            // leases, bans and falls
	Profile   string          // only leases of this one, and the drift that is quick to find; "": all, and Fill
	Family    protocol.Family // only this one; Both: both
	Keys      bool            // with Leases: the keys that may open signed profiles, for leases to give with users
	Positions int             // so many sources in a position at most, the newest; 0: none
}

// Reading is a moment of the kernel: what is installed, and as much of the rest as its depth says.
// It is pure: what follows from it needs no further read.
type Reading struct {
	Installed
	Sources   []Source // by address
	Positions int      // sources in a position, listed or not; -1: the kernel does not say

	// Knocking counts the sources in a position by profile, listed or not, as far as they were read:
	// of very many only a part is. nil: not asked for.
	Knocking map[string]int
	Fill     []Fill
	Saved    []Saved // the host's iptables, where the reading has Rules
	Planner
}

// Saved is what iptables-save of one flavour prints about one family.
type Saved struct {
	Tool   string // "iptables-nft" or "iptables-legacy"
	Family protocol.Family
	Tables []save.Table
}

// Planner says what a commit has to do, given the reading.
type Planner interface {
	// Plan makes the wanted profiles the installed ones. The reading needs Rules and Leases.
	Plan(want Want) (Plan, error)

	// Change gives leases and ends leases, bans and falls, all at once. A lease has the profile's
	// own time, or another where Left or Unlimited say so. It replaces the holder's lease. One that
	// is not ByHand is as a knock has given it some time ago, with Users. The reading needs Leases, of
	// the profile at least, and Keys where Users are given.
	//
	// Of a lease to end that has Users, what these have opened ends, with any of their keys where Key is
	// "". It goes on for others, for as long as they have left. Without an Address it is each lease of
	// the profile.
	Change(give, end []Source) (Plan, error)

	// Forget takes out who has opened leases that are over by this reading and an earlier one. Both need
	// Leases of all profiles. Without a text there is nothing to do.
	Forget(before Planner) (Plan, error)

	// Save returns the text that PutBack of a later reading takes. The reading needs Rules and Leases.
	Save() (string, error)

	// PutBack installs what was saved. Positions and leases stay, and leases that the change has
	// ended come back, but for those that commands have ended since. Leases that were given since, for
	// less than the saved rules open, end.
	PutBack(saved string, ended []Ended) (Plan, error)
}

// Opener is the [Planner] of a backend that checks tokens.
type Opener interface {
	// Openings returns whose keys have opened a lease, the last one first: also of a lease that is over
	// since a moment. The reading needs Leases.
	Openings(profile string, holder netip.Prefix) []Opening
}

// Opening is the last use of a key for a lease.
type Opening struct {
	User    string
	Key     string        // its ID
	Ago     time.Duration // by this reading
	Undated bool          // Ago has no meaning: leases have no end, or `renew`
}

// Plan is what a commit does. It is for the backend whose reading made it.
type Plan interface {
	Texts() []Text // the texts for the host's tools, in their order
}
