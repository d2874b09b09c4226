package follow

import (
	"iter"
	"net/netip"
	"slices"
	"time"

	"knockkit/internal/kernel/backend"
	"knockkit/protocol"
)

// Waiting times.
const (
	Grace   = 300 * time.Millisecond // for a report that may be on its way
	patient = 5 * time.Second        // for a reading of the kernel, when a lease should be over
)

// Key is a lease's profile and holder. A holder has one lease of a profile.
type Key struct {
	Profile string
	Holder  netip.Prefix // what the lease covers
}

// Ended is a lease that is over.
type Ended struct {
	Key
	InTime bool     // else early: given back, used up or revoked
	Users  []string // who had opened it, as far as it is known
}

// Leases are the leases that are followed. They are not safe for concurrent use.
type Leases struct {
	limit int
	byKey map[Key]lease
}

type lease struct {
	since  time.Duration // a reading that began later has it, unless it has ended
	until  time.Duration // 0: never
	byHand bool          // see [backend.Source]
	users  []user        // who have opened it; none: by hand, or no reading has shown it yet
}

// names returns the users, each once.
func (l lease) names() (all []string) {
	for _, u := range l.users {
		if !slices.Contains(all, u.name) {
			all = append(all, u.name)
		}
	}
	return all
}

type user struct {
	name, key string
	until     time.Duration // 0: with the lease
}

// New returns an empty list that follows at most limit leases. Beyond that, chance decides which is
// forgotten: a flood cannot push out a chosen holder.
func New(limit int) *Leases { return &Leases{limit, map[Key]lease{}} }

// Len returns how many leases are followed.
func (l *Leases) Len() int { return len(l.byKey) }

// Grant adds a lease of the profile's own time that begins now for a source, by the user who has knocked;
// of one that is not known the name is "".
func (l *Leases) Grant(now time.Duration, p *protocol.Profile, source netip.Addr, by backend.User) {
	holder, err := source.Prefix(p.Prefix(protocol.FamilyOf(source)))
	if err != nil {
		return // the length of a valid profile is valid
	}
	k := Key{p.Name, holder}
	l.Give(now, k, p.Lease)
	if by.Name == "" {
		return
	}
	is, given := user{name: by.Name, key: by.Key}, l.byKey[k]
	if p.Lease > 0 && !p.Renew {
		is.until = now + p.Lease
	}
	others := slices.DeleteFunc(slices.Clone(given.users), func(u user) bool { return u.name == is.name && u.key == is.key })
	given.users = append([]user{is}, others...)
	l.byKey[k] = given
}

// Give adds a lease that begins now: for d, or without end when d is 0.
func (l *Leases) Give(now time.Duration, k Key, d time.Duration) {
	given := lease{since: now}
	if d > 0 {
		given.until = now + d
	}
	if had, ok := l.byKey[k]; ok {
		given.until, given.users = longer(had.until, given.until), had.users
		given.byHand = had.byHand && given.until == had.until
	}
	l.put(k, given)
}

// Put adds a lease that begins now in the place of what the holder had.
func (l *Leases) Put(now time.Duration, s backend.Source) {
	is := lease{since: now, byHand: s.ByHand}
	if !s.Unlimited {
		is.until = now + s.Left
	}
	for _, u := range s.Users {
		part := user{name: u.Name, key: u.Key}
		if !u.Unlimited {
			part.until = now + u.Left
		}
		is.users = append(is.users, part)
	}
	l.put(keyOf(s), is)
}

// Forget forgets a lease that an operator has ended.
func (l *Leases) Forget(k Key) { delete(l.byKey, k) }

// ForgetProfile forgets all leases of a profile that was removed, and returns them.
func (l *Leases) ForgetProfile(name string) (forgotten []Key) {
	for k := range l.byKey {
		if k.Profile == name {
			forgotten = append(forgotten, k)
			delete(l.byKey, k)
		}
	}
	return forgotten
}

// Covers reports whether a source has a lease of a profile that is followed.
func (l *Leases) Covers(profile string, source netip.Addr) bool {
	for holder := range Around(source) { // strangers make us ask: no walk over all leases
		if _, ok := l.byKey[Key{profile, holder}]; ok {
			return true
		}
	}
	return false
}

// Users returns who has opened a lease, as far as a reading has shown it: each once.
func (l *Leases) Users(k Key) []string { return l.byKey[k].names() }

// Around returns all prefixes that contain an address, the longest first.
func Around(a netip.Addr) iter.Seq[netip.Prefix] {
	return func(yield func(netip.Prefix) bool) {
		for bits := a.BitLen(); bits >= 0; bits-- {
			if p, err := a.Prefix(bits); err != nil || !yield(p) {
				return
			}
		}
	}
}

// Missing returns the leases that have ended by a reading, and forgets none. The reading began at
// began; now is later.
func (l *Leases) Missing(now, began time.Duration, shown []backend.Source) []Ended {
	has := map[Key]bool{}
	for _, s := range shown {
		if s.State == backend.Open {
			has[keyOf(s)] = true
		}
	}
	var ended []Ended
	for k, had := range l.byKey {
		if !has[k] && had.since < began {
			ended = append(ended, Ended{k, had.until > 0 && now+Grace > had.until, had.names()})
		}
	}
	return ended
}

// Sync takes over the leases of a reading, and returns those that have ended by it: see
// [Leases.Missing].
func (l *Leases) Sync(now, began time.Duration, shown []backend.Source) []Ended {
	until, byHand, users := map[Key]time.Duration{}, map[Key]bool{}, map[Key][]user{}
	for _, s := range shown {
		if s.State != backend.Open {
			continue
		}
		h, end := keyOf(s), began+s.Left
		if s.Unlimited {
			end = 0
		}
		other, several := until[h] // one by hand, one from a knock
		if several {
			end = longer(other, end)
		}
		if !several || end != other {
			byHand[h] = s.ByHand
		}
		until[h] = end
		for _, u := range s.Users {
			is := user{name: u.Name, key: u.Key}
			if !u.Unlimited {
				is.until = began + u.Left
			}
			users[h] = append(users[h], is)
		}
	}
	ended := l.Missing(now, began, shown)
	for _, e := range ended {
		delete(l.byKey, e.Key)
	}
	for h, end := range until {
		had, ok := l.byKey[h]
		if !ok {
			had.since = began
		}
		l.put(h, lease{had.since, end, byHand[h], users[h]})
	}
	return ended
}

// Due reports whether a lease should have ended: a reading would tell.
func (l *Leases) Due(now time.Duration) bool {
	for _, had := range l.byKey {
		if had.until > 0 && now > had.until+Grace {
			return true
		}
	}
	return false
}

// Expire returns and forgets leases that should have ended for a while, without a reading.
func (l *Leases) Expire(now time.Duration) []Ended {
	var ended []Ended
	for h, had := range l.byKey {
		if had.until > 0 && now > had.until+patient {
			delete(l.byKey, h)
			ended = append(ended, Ended{h, true, had.names()})
		}
	}
	return ended
}

// KeepLeases forgets leases that end when the profiles that they were given for are replaced, and
// returns them. One of a profile that is new goes on.
func (l *Leases) KeepLeases(was, will []*protocol.Profile) (ended []Ended) {
	for h, had := range l.byKey {
		if protocol.Find(was, h.Profile) != nil && len(backend.KeepLeases([]backend.Source{{Profile: h.Profile, Address: h.Holder, State: backend.Open}}, was, will)) == 0 {
			delete(l.byKey, h)
			ended = append(ended, Ended{h, false, had.names()})
		}
	}
	return ended
}

// Running returns the leases of the profiles that have a second left at least.
func (l *Leases) Running(now time.Duration, profiles []*protocol.Profile) []backend.Source {
	steps := map[string]int{}
	for _, p := range profiles {
		steps[p.Name] = len(p.Sequence)
	}
	var all []backend.Source
	for h, had := range l.byKey {
		n, ok := steps[h.Profile]
		s := backend.Source{Profile: h.Profile, Address: h.Holder, State: backend.Open, Step: n, Steps: n, ByHand: had.byHand}
		if s.Unlimited = had.until == 0; !s.Unlimited {
			s.Left = had.until - now
		}
		for _, u := range had.users {
			is := backend.User{Name: u.name, Key: u.key, Unlimited: u.until == 0}
			if !is.Unlimited {
				is.Left = u.until - now
			}
			if is.Unlimited || is.Left >= time.Second {
				s.Users = append(s.Users, is)
			}
		}
		if ok && (s.Unlimited || s.Left >= time.Second) {
			all = append(all, s)
		}
	}
	return all
}

// Lost returns the running leases that the kernel does not have.
func (l *Leases) Lost(now time.Duration, kernels []backend.Source, profiles []*protocol.Profile) []backend.Source {
	has := map[Key]bool{}
	for _, s := range kernels {
		if s.State == backend.Open {
			has[keyOf(s)] = true
		}
	}
	var lost []backend.Source
	for _, s := range l.Running(now, profiles) {
		if !has[keyOf(s)] {
			lost = append(lost, s)
		}
	}
	return lost
}

func keyOf(s backend.Source) Key { return Key{s.Profile, s.Address} }

// put adds a lease, and makes room for it.
func (l *Leases) put(h Key, is lease) {
	if _, ok := l.byKey[h]; !ok {
		MakeRoom(l.byKey, l.limit)
	}
	l.byKey[h] = is
}

// MakeRoom deletes entries until one more fits into the limit.
func MakeRoom[K comparable, V any](m map[K]V, limit int) {
	for k := range m {
		if len(m) < limit {
			return
		}
		delete(m, k)
	}
}

// longer returns the later of two ends; 0 is never.
func longer(x, y time.Duration) time.Duration {
	if x == 0 || y == 0 {
		return 0
	}
	return max(x, y)
}
