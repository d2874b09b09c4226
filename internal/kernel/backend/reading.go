package backend

import (
	"knockkit/internal/kernel/iptables/save"
	"knockkit/protocol"
)

// Depth says what a reading holds beside what is installed.
type Depth struct {
	Rules     bool            // the rules themselves: Drift, Foreign, and what [Planner.Plan] needs
	Leases    bool            // who holds a lease, is banned or has fallen
	Profile   string          // only leases of this one, and of Drift what is quick to see; "": all, and Fill
	Family    protocol.Family // only this one; Both: both
	Positions int             // so many sources in a position at most, the newest; 0: none
}

// Reading is a moment of the kernel: what is installed, and as much of the rest as its
// depth says. It is pure: nothing is read any more for what follows from it.
type Reading struct {
	Installed
	Sources   []Source // by address
	Positions int      // how many sources are in a position, listed or not; -1: the kernel does not say

	// Knocking counts the sources in a position by profile, those that are listed and those that
	// are not, but for those that were not read: there are too many then. nil: not asked for.
	Knocking map[string]int
	Fill     []Fill
	Saved    []Saved // the host's iptables, where it was read: the reading has Rules
	Planner
}

// Saved is what iptables-save of one flavour prints about one family.
type Saved struct {
	Tool   string // "iptables-nft" or "iptables-legacy"
	Family protocol.Family
	Tables []save.Table
}

// Planner says what a commit has to do, given what the kernel holds.
type Planner interface {
	// Plan makes want what is installed. The reading needs Rules and Leases.
	Plan(want Want) (Plan, error)

	// Change gives leases and ends leases, bans and falls, all at once. What is given has
	// the profile's own time, or one of its own where Left or Unlimited differ from that;
	// what the holder had before is replaced. The reading needs Leases, of the profile at least.
	Change(give, end []Source) (Plan, error)

	// Save returns what PutBack of a later reading takes. The reading needs Rules and Leases.
	Save() (string, error)

	// PutBack makes what was saved what is installed again. Positions and leases stay, and
	// leases come back that have ended by the change; those that were given since, for more
	// than the saved rules open, end.
	PutBack(saved string) (Plan, error)
}

// Plan is what a commit does. It is made for the backend whose reading made it.
type Plan interface {
	Texts() []Text // what the host's tools are fed with, in their order
}
