package client

import (
	"sync"

	"golang.org/x/sync/semaphore"
)

// Turns lets several Dialers knock on a host one after another: a sequence or a connection of one
// would be an event in the sequence of another. The zero value is ready to use. A host counts as
// another one under another name.
type Turns struct {
	mu    sync.Mutex
	hosts map[string]*turn
}

// turn is taken by a sequence as a whole, and by connections side by side.
type turn = semaphore.Weighted

// all of a turn is more than there can be connections.
const all = 1 << 30

func (t *Turns) of(host string) *turn {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.hosts == nil {
		t.hosts = map[string]*turn{}
	}
	host = CanonicalHost(host)
	if t.hosts[host] == nil {
		t.hosts[host] = semaphore.NewWeighted(all)
	}
	return t.hosts[host]
}

// Knocking is what a [Dialer] tells of one knock: Result and Err, as of [Knock], once it has Ended.
type Knocking struct {
	Target Target
	Why    Why
	Ended  bool
	Result Result
	Err    error
}

// Why is the reason for which a [Dialer] knocks.
type Why string

// The reasons.
const (
	NoLease   Why = "no lease yet"
	LeaseOver Why = "the lease is over"
	LeaseLost Why = "the lease did not let a connection in" // revoked, or another address by now
	Renewal   Why = "the lease ends soon"                   // of [Dialer.Keep]
)
