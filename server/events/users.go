package events

import (
	"slices"
	"strings"
	"time"

	"knockkit/internal/follow"
	"knockkit/internal/kernel/backend"
	"knockkit/protocol"
)

// A rule's report of a grant cannot say whose token it was. The kernel has that beside the lease, with
// the time: so a reading that begins after a report tells who it was, unless users of one address knock
// in the same moment. A notice names nobody on a guess.

// nameWithin is how old a knock may be whose report came a moment ago. Reports wait for the batch before
// theirs, and for a reading.
const nameWithin = 3 * time.Second

// nameDoubt is how exact the kernel's times are: it counts in units of 10 ms at most.
const nameDoubt = 20 * time.Millisecond

// useKey is a user of a lease.
type useKey struct {
	follow.Key
	user string
}

// signed returns the lease that a report is about, if it says that one of a signed profile starts.
func (s *tracker) signed(r report) (k follow.Key, ok bool) {
	if r.Event != backend.ReportGrant {
		return k, false
	}
	p := s.views[protocol.FamilyOf(r.Packet.Source)].profile(r.Profile)
	if p == nil || p.Signed == nil {
		return k, false
	}
	return leaseOf(p, r.Packet.Source)
}

// name writes into reports of grants who has knocked, by a reading that began after they came, and has
// ended at ended.
func (s *tracker) name(reports []report, by Snapshot, ended time.Duration) {
	kernel, ok := by.Planner.(backend.Opener)
	if !ok {
		return
	}
	for k, at := range s.named {
		if ended-at > 2*nameWithin {
			delete(s.named, k)
		}
	}
	grants := map[follow.Key][]*report{}
	for i := range reports {
		if k, ok := s.signed(reports[i]); ok {
			grants[k] = append(grants[k], &reports[i])
		}
	}
	for k, all := range grants {
		for i, o := range s.users(k, kernel.Openings(k.Profile, k.Holder), len(all), by.Began.Up, ended) {
			all[i].User = backend.User{Name: o.User, Key: o.Key}
		}
	}
}

// users returns who has knocked for the last n grants of a lease, in their order; nil: that is not
// certain. The reading of the openings lasted from began to ended.
func (s *tracker) users(k follow.Key, openings []backend.Opening, n int, began, ended time.Duration) []backend.Opening {
	// Those who may have knocked, each once, and those of them of whose knock no notice has told.
	var recent, fresh []backend.Opening
	undated, early := false, false
	for _, o := range openings {
		first := began - o.Ago - nameDoubt // the knock was between this and ended - o.Ago
		if isOf(recent, o.User) || !o.Undated && ended-first > nameWithin {
			continue // with another key, or long ago
		}
		recent = append(recent, o)
		told, known := s.named[useKey{k, o.User}]
		if o.Undated {
			known, told = slices.Contains(s.leases.Users(k), o.User), first
		}
		if !known || first > told {
			fresh = append(fresh, o)
		}
		undated, early = undated || o.Undated, early || !known && !o.Undated && first < s.watched
	}
	slices.Reverse(fresh)
	var users []backend.Opening
	switch {
	case len(recent) == 1:
		users = slices.Repeat(recent, n)
	case early: // nobody knows whether the report is still to come
	case len(fresh) == 1 && n == 1, len(fresh) >= n && !undated && inOrder(fresh): // reports of later knocks come next
		users = fresh[:n]
	}
	told := users
	if users == nil { // their reports are these, whoever is which
		told = fresh
	}
	for _, o := range told {
		if !o.Undated {
			s.named[useKey{k, o.User}] = ended - o.Ago
		}
	}
	return users
}

// isOf reports whether one of the openings is a user's.
func isOf(all []backend.Opening, user string) bool {
	return slices.ContainsFunc(all, func(o backend.Opening) bool { return o.User == user })
}

// inOrder reports whether it is certain which of the knocks came first: the oldest is the first of them.
func inOrder(all []backend.Opening) bool {
	for i := range all[1:] {
		if all[i].Ago-all[i+1].Ago < nameDoubt {
			return false
		}
	}
	return true
}

// joined is the users of a lease in one text.
func joined(users []string) string { return strings.Join(users, ", ") }
