package protocol

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// TokenFate says what became of a packet's token.
type TokenFate uint8

// The fates. Only TokenOpens uses the token up; with every other one the packet is an ordinary one.
const (
	NoToken    TokenFate = iota
	TokenOpens           // the first packet with it, where it counts
	TokenUsed            // it was used up before
	TokenUnknown
	TokenExpired
	TokenMisplaced // not on the profile's carrier, or out of its scope
)

// String returns the fate in words.
func (f TokenFate) String() string {
	return []string{"no token", "a right token", "a token that was used before", "a token that nobody's key makes",
		"a token whose time is over", "a token of a profile that expects it elsewhere"}[f]
}

// loadedToken is a token that the machine was given.
type loadedToken struct {
	profile, user string
	until         time.Time
	used          bool
}

// Load gives the machine a token that opens a signed profile for a user, up to and including a time.
// A token comes in once: one that is there already stays as it is, used or not.
func (m *Machine) Load(p *Profile, user string, t Token, until time.Time) {
	if _, known := m.tokens[t]; !known {
		m.tokens[t] = &loadedToken{p.Name, user, until, false}
	}
}

// spend looks at the event's token. Where it opens its profile, it is used up.
func (m *Machine) spend(e Event) (p *Profile, user string, fate TokenFate) {
	if e.Token == (Token{}) {
		return nil, "", NoToken
	}
	t := m.tokens[e.Token]
	if t == nil {
		return nil, "", TokenUnknown
	}
	p = Find(m.a.Profiles, t.profile)
	switch {
	case t.used:
		return nil, "", TokenUsed
	case e.Time.After(t.until):
		return nil, "", TokenExpired
	case p == nil || p.Signed.Carrier != e.Knock || !p.ScopeIn(m.a.Family).Matches(e.Dest, e.Interface) || !p.admits(e.Source):
		return nil, "", TokenMisplaced
	}
	t.used = true
	return p, t.user, TokenOpens
}

// grantUser gives the event's source a lease of the profile, which names the user. A lease that is
// over has no users any more, and one of `once` is its last user's alone: the first connection uses it
// up.
func (m *Machine) grantUser(p *Profile, user string, e Event) {
	key := m.leaseKey(p, e.Source)
	if p.Once || m.users[key] == nil || !m.HasLease(p, e.Source, e.Time) {
		m.users[key] = map[string]time.Time{}
	}
	m.users[key][user], m.leases[key] = e.Time, e.Time
}

// endLease ends a lease for all its users.
func (m *Machine) endLease(key leaseKey) {
	delete(m.leases, key)
	delete(m.users, key)
}

// Users returns the users who have opened the source's lease of a signed profile, by name. With a
// lease that connections renew, a user stays as long as the lease; else what he has opened lasts as
// long as a lease does.
func (m *Machine) Users(p *Profile, source netip.Addr, now time.Time) []string {
	if !m.HasLease(p, source, now) {
		return nil
	}
	return slices.Sorted(maps.Keys(m.usersAt(p, m.leaseKey(p, source), now)))
}

func (m *Machine) usersAt(p *Profile, key leaseKey, now time.Time) map[string]time.Time {
	live := maps.Clone(m.users[key])
	maps.DeleteFunc(live, func(_ string, since time.Time) bool {
		return !p.Renew && p.Lease > 0 && now.Sub(since) > p.Lease
	})
	return live
}

// EndUser ends what a user has opened of a profile, for all holders. A lease that others have knocked
// for goes on, for as long as the last of them has left.
func (m *Machine) EndUser(p *Profile, user string, now time.Time) {
	for key, users := range m.users {
		if _, has := users[user]; !has || key.profile != p.Name {
			continue
		}
		delete(users, user)
		others := m.usersAt(p, key, now)
		if len(others) == 0 {
			m.endLease(key)
		} else if !p.Renew {
			m.leases[key] = slices.MaxFunc(slices.Collect(maps.Values(others)), time.Time.Compare)
		}
	}
}

// explainToken says why a packet with a token is an ordinary one, or what it does.
func (t Transition) explainToken() string {
	if t.Token == TokenOpens {
		return fmt.Sprintf("a token of %s, used up now: no event of a sequence", t.User)
	}
	return t.Token.String()
}
