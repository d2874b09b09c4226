package service

import (
	"maps"
	"sync"

	"knockkit/internal/kernel/backend"
	"knockkit/protocol"
	"knockkit/server/events"
	"knockkit/server/keys"
)

// uses are the last uses of keys, until they are written to disk.
type uses struct {
	mu      sync.Mutex
	last    map[string]keys.Use // by the key's ID, since the start
	waiting map[string]keys.Use // to be written
	endless map[string]bool     // keys and addresses whose leases do not say when they began; nil: nothing was read yet
}

// note takes in a use of a key. What is known already, as far as clocks are exact, is not written again.
func (u *uses) note(id string, use keys.Use) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.add(id, use)
}

func (u *uses) add(id string, use keys.Use) {
	if was, known := u.last[id]; known && use.At.Sub(was.At) < stepAtLeast {
		return
	}
	if u.last == nil {
		u.last, u.waiting = map[string]keys.Use{}, map[string]keys.Use{}
	}
	u.last[id], u.waiting[id] = use, use
}

// see takes in a reading: a lease began as long ago as it has lost of its time. Of one without end
// that is not known: it began between two readings, if the first of them does not have it.
func (u *uses) see(s events.Snapshot, profiles []*protocol.Profile) {
	u.mu.Lock()
	defer u.mu.Unlock()
	endless := map[string]bool{}
	for _, lease := range s.Sources {
		p := protocol.Find(profiles, lease.Profile)
		if lease.State != backend.Open || p == nil {
			continue
		}
		for _, by := range lease.Users {
			use := keys.Use{At: s.Began.Wall, From: protocol.PrefixText(lease.Address)}
			if !by.Unlimited && by.Left <= p.Lease { // else the profile's time was another then
				use.At = use.At.Add(by.Left - p.Lease)
				u.add(by.Key, use)
				continue
			}
			name := by.Key + " " + use.From
			endless[name] = true
			if u.endless != nil && !u.endless[name] {
				u.add(by.Key, use)
			}
		}
	}
	u.endless = endless
}

// take returns what is to be written.
func (u *uses) take() map[string]keys.Use {
	u.mu.Lock()
	defer u.mu.Unlock()
	waiting := u.waiting
	u.waiting = map[string]keys.Use{}
	return waiting
}

// putBack takes in what could not be written.
func (u *uses) putBack(waiting map[string]keys.Use) {
	u.mu.Lock()
	defer u.mu.Unlock()
	maps.Copy(waiting, u.waiting)
	u.waiting = waiting
}
