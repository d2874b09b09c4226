package ledger

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"time"

	"knockkit/internal/follow"
)

// Ledger is what one node knows. It is not safe for concurrent use.
type Ledger struct {
	node    string
	last    int64                           // the latest stamp that was seen
	leases  map[follow.Key]map[ID]Statement // by profile and holder, as they were said
	endings map[scope]Statement
	lengths map[int]int      // how many endings there are of each length of a prefix; -1: of all holders
	about   map[ID]scope     // of what there is in leases and endings
	stored  []map[ID]version // what the store has, with each of the fleet's secrets
}

// scope is what an ending is about, or a lease.
type scope struct {
	kind    Kind
	profile string
	within  netip.Prefix // the zero Prefix: all holders
	user    string       // "" for a lease
}

// version tells a statement from others of its ID.
type version struct{ stamp, end int64 }

func versionOf(s *Statement) version { return version{s.Stamp, s.End.UnixMilli()} }

// New returns an empty ledger of a node, and of a store that has each statement with so many secrets.
func New(node string, secrets int) *Ledger {
	l := &Ledger{node: node, leases: map[follow.Key]map[ID]Statement{}, endings: map[scope]Statement{}, lengths: map[int]int{}, about: map[ID]scope{}, stored: make([]map[ID]version, secrets)}
	l.Reconnected()
	return l
}

// Say stamps a statement of this node, and takes it in. An ending without an End is remembered for [Memory].
func (l *Ledger) Say(now time.Time, s Statement) Statement {
	s.Stamp, s.Node = max(now.UnixNano(), l.last+1), l.node
	s.End = asStored(s.End)
	if s.Kind == Ending && s.End.IsZero() {
		s.End = s.said().Add(Memory)
	}
	if old, ok := l.statement(&s); ok {
		s.Spent = spentSince(now, old.Spent, s.Spent)
	}
	l.put(s)
	return s
}

// Longest returns when the last lease ends that is known of a holder, in effect or not; the zero Time: never.
func (l *Ledger) Longest(k follow.Key) (end time.Time, some bool) {
	var all []Grant
	for _, s := range l.leases[k] {
		all = append(all, Grant{End: s.End})
	}
	return last(all), len(all) > 0
}

// Adopt takes in a statement that this node has found out later than it became true: its stamp is then.
// It reports whether it counts.
func (l *Ledger) Adopt(s Statement) bool {
	s.Node = cmp.Or(s.Node, l.node) // one that `renew` has made longer is of who said it first
	s.End = asStored(s.End)
	return l.put(s)
}

// asStored is an end as the store will have it.
func asStored(end time.Time) time.Time {
	if end.IsZero() {
		return end
	}
	return time.UnixMilli(end.UnixMilli())
}

// Unspent returns the tokens of a statement that this ledger does not know as spent yet.
func (l *Ledger) Unspent(now time.Time, s *Statement) (all []Spent) {
	old, _ := l.statement(s)
	for _, x := range s.Spent {
		if x.Until.After(now) && !slices.Contains(old.Spent, x) {
			all = append(all, x)
		}
	}
	return all
}

// Merge takes in a statement that the store has, and reports whether it is news. One that cannot be, by its
// stamp, is nothing. secret is the one that it is stored with, below 0 where another node has
// told it; caughtUp says that the store had not had it
// before. again says that the store has to be told what the ledger has.
func (l *Ledger) Merge(now time.Time, s Statement, secret int, caughtUp bool) (news, again bool) {
	if s.Over(now) || s.said().After(now.Add(MaxAhead)) {
		return false, false
	}
	old, known := l.statement(&s)
	if caughtUp && !known && s.said().Before(now.Add(-Memory)) {
		return false, false
	}
	id := s.ID()
	if secret >= 0 {
		l.stored[secret][id] = versionOf(&s)
	}
	if news = l.put(s); news {
		old = s
	}
	return news, secret >= 0 && !l.isStored(id, &old)
}

// isStored reports whether the store has a statement with each secret.
func (l *Ledger) isStored(id ID, s *Statement) bool {
	for _, stored := range l.stored {
		if stored[id] != versionOf(s) {
			return false
		}
	}
	return true
}

// wasStored reports whether the store has a statement of this ID.
func (l *Ledger) wasStored(id ID) bool {
	return slices.ContainsFunc(l.stored, func(stored map[ID]version) bool { return stored[id] != (version{}) })
}

func (l *Ledger) forget(id ID) {
	delete(l.about, id)
	for _, stored := range l.stored {
		delete(stored, id)
	}
}

// Deleted says that the store has no statement of this ID with a secret any more. It reports whether the
// ledger has one that is not over: it was not the end of its time.
func (l *Ledger) Deleted(now time.Time, id ID, secret int) (again bool) {
	delete(l.stored[secret], id)
	of, ok := l.about[id]
	if !ok {
		return false
	}
	s := l.endings[of]
	if of.kind == Lease {
		s = l.leases[follow.Key{Profile: of.profile, Holder: of.within}][id]
	}
	return l.worthStoring(now, id, &s)
}

// Reconnected says that the store tells all that it has again.
func (l *Ledger) Reconnected() {
	for i := range l.stored {
		l.stored[i] = map[ID]version{}
	}
}

// put takes in a statement unless it has one that counts more.
func (l *Ledger) put(s Statement) bool {
	if old, ok := l.statement(&s); ok && !s.after(&old) {
		return false
	}
	l.last = max(l.last, s.Stamp)
	if s.Kind == Ending {
		of := scope{Ending, s.Profile, s.Holder, s.User}
		if _, ok := l.endings[of]; !ok {
			l.lengths[length(s.Holder)]++
			l.about[s.ID()] = of
		}
		l.endings[of] = s
		return true
	}
	l.about[s.ID()] = scope{kind: Lease, profile: s.Profile, within: s.Holder}
	k := follow.Key{Profile: s.Profile, Holder: s.Holder}
	if l.leases[k] == nil {
		l.leases[k] = map[ID]Statement{}
	}
	l.leases[k][s.ID()] = s
	return true
}

func length(p netip.Prefix) int {
	if !p.IsValid() {
		return -1
	}
	return p.Bits()
}

// statement returns what the ledger has of the same ID.
func (l *Ledger) statement(s *Statement) (old Statement, ok bool) {
	if s.Kind == Ending {
		old, ok = l.endings[scope{Ending, s.Profile, s.Holder, s.User}]
		return old, ok
	}
	old, ok = l.leases[follow.Key{Profile: s.Profile, Holder: s.Holder}][s.ID()]
	return old, ok
}

// all calls do for each statement.
func (l *Ledger) all(do func(ID, *Statement)) {
	for _, parts := range l.leases {
		for id, s := range parts {
			do(id, &s)
		}
	}
	for _, s := range l.endings {
		do(s.ID(), &s)
	}
}

// Unstored returns the statements that the store does not have, or has an older one of: the latest first.
// What is over, or was ended, need not be stored.
func (l *Ledger) Unstored(now time.Time) (all []Statement) {
	l.all(func(id ID, s *Statement) {
		if !l.isStored(id, s) && l.worthStoring(now, id, s) {
			all = append(all, *s)
		}
	})
	slices.SortFunc(all, latestFirst)
	return all
}

// SaidSince returns what this node has said since a time, and what it has found out: the latest first.
func (l *Ledger) SaidSince(since, now time.Time) (all []Statement) {
	l.all(func(_ ID, s *Statement) {
		if s.Node == l.node && !s.said().Before(since) && !s.Over(now) {
			all = append(all, *s)
		}
	})
	slices.SortFunc(all, latestFirst)
	return all
}

// worthStoring reports whether others have to know a statement.
func (l *Ledger) worthStoring(now time.Time, id ID, s *Statement) bool {
	if s.Over(now) || s.said().Before(now.Add(-Memory)) && !l.wasStored(id) {
		return false
	}
	return s.Kind == Ending || !l.ended(s)
}

// Endless returns the IDs of leases without end that were ended, and that the store still has: it would
// have them when the ending is forgotten.
func (l *Ledger) Endless() (all []ID) {
	l.all(func(id ID, s *Statement) {
		if s.Kind == Lease && s.End.IsZero() && l.wasStored(id) && l.ended(s) {
			all = append(all, id)
		}
	})
	return all
}

// Forget forgets statements that have been over for a while: a kernel may have a lease for a moment more.
func (l *Ledger) Forget(now time.Time) {
	now = now.Add(-MaxAhead)
	for k, parts := range l.leases {
		maps.DeleteFunc(parts, func(id ID, s Statement) bool {
			gone := s.Over(now) || s.End.IsZero() && l.ended(&s) && s.said().Before(now.Add(-Memory))
			if gone {
				l.forget(id)
			}
			return gone
		})
		if len(parts) == 0 {
			delete(l.leases, k)
		}
	}
	for of, s := range l.endings {
		if s.Over(now) {
			l.forget(s.ID())
			delete(l.endings, of)
			if l.lengths[length(of.within)]--; l.lengths[length(of.within)] == 0 {
				delete(l.lengths, length(of.within))
			}
		}
	}
}

// ended reports whether a later statement has ended a lease. One of the same moment has.
func (l *Ledger) ended(s *Statement) bool {
	_, ok := l.endedBy(s)
	return ok
}

// endedBy returns the ending.
func (l *Ledger) endedBy(s *Statement) (Statement, bool) {
	for bits := range l.lengths {
		within := netip.Prefix{}
		if bits >= 0 {
			var err error
			if within, err = s.Holder.Addr().Prefix(bits); err != nil || bits > s.Holder.Bits() {
				continue
			}
		}
		for _, user := range []string{"", s.User} {
			if e, ok := l.endings[scope{Ending, s.Profile, within, user}]; ok && e.Stamp >= s.Stamp {
				return e, true
			}
		}
	}
	return Statement{}, false
}

// spentSince joins tokens whose slots are not over.
func spentSince(now time.Time, lists ...[]Spent) (all []Spent) {
	for _, x := range slices.Concat(lists...) {
		if x.Until.After(now) && !slices.Contains(all, x) {
			all = append(all, x)
		}
	}
	return all
}

// Len counts leases that are neither over nor ended, and endings.
func (l *Ledger) Len(now time.Time) (leases, endings int) {
	for _, parts := range l.leases {
		for _, s := range parts {
			if !s.Over(now) && !l.ended(&s) {
				leases++
				break
			}
		}
	}
	return leases, len(l.endings)
}
