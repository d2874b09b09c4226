package protocol

import (
	"net/netip"
	"slices"
	"time"
)

// Policy is the part of the server's settings that changes what events mean.
type Policy struct {
	Strict bool // every event counts; else only knocks of some sequence do
	Ban    *Ban // nil: nobody is banned
}

// Ban shuts a source out for For when it falls from a position back to the root After times within
// For.
type Ban struct {
	After int           // 1 to MaxBanAfter
	For   time.Duration // whole seconds, more than 0
}

// Differs returns the keys of knockd.toml, "strict" and "ban", in which two policies
// differ.
func (p Policy) Differs(o Policy) []string {
	var keys []string
	if p.Strict != o.Strict {
		keys = append(keys, "strict")
	}
	if (p.Ban == nil) != (o.Ban == nil) || p.Ban != nil && *p.Ban != *o.Ban {
		keys = append(keys, "ban")
	}
	return keys
}

// MaxBanAfter is how many falls the kernel can count: fewer than the 32 time stamps that xt_recent
// keeps for an address.
const MaxBanAfter = 20

// Event is an incoming packet that the machine looks at: not part of an established connection, not
// from loopback, to an address of this host.
type Event struct {
	Time      time.Time
	Source    netip.Addr
	Dest      netip.Addr // may be invalid where no profile has `to`
	Interface string
	Knock     Knock
	Token     Token // the first bytes of the payload; the zero value: no token
}

// Cause says why a source is where it is after an event.
type Cause uint8

// The causes. With Nothing, Uncounted, ShutOut and ByToken the source stays where it was.
const (
	Nothing   Cause = iota // no position, and the event starts none
	Advance                // the next knock of the position
	Repeat                 // the position's last knock again: its time starts again
	Suffix                 // the next knock after a suffix of the position
	Start                  // the first knock of a sequence
	StartOver              // anything else: back to no position
	Uncounted              // not a knock of any sequence, and the policy is not strict
	Banned                 // the source's events are ignored
	ShutOut                // a gate before destination NAT drops it: no event
	ByToken                // it has a token that opens a signed profile: no event
)

// String returns the cause in words.
func (r Cause) String() string {
	return []string{"nothing", "advance", "repeat", "suffix", "start", "start over", "not counted", "banned", "shut out before it is an event", "signed"}[r]
}

// Transition is what one event did to its source.
type Transition struct {
	From    int // the position before; Root when it had expired
	Expired int // the position whose time was over before the event, or Root
	Entered int // the state that the event led to, or Root
	To      int // the position after
	Why     Cause

	Granted []*Profile // leases that start (again)
	Closed  []*Profile // leases given back by a close knock
	Banned  bool       // the ban starts with this event

	Token TokenFate // what became of the packet's token; not looked at with Banned and ShutOut
	User  string    // whose token it is, with ByToken
}

// Machine is the reference: it runs an automaton in Go, event by event, and keeps every source's
// position, falls, ban and leases, and which tokens are used up. Tests compare the kernel's rules with it. It is not safe for
// concurrent use.
type Machine struct {
	a       *Automaton
	policy  Policy
	sources map[netip.Addr]*source
	leases  map[leaseKey]time.Time            // → when it was granted or renewed
	users   map[leaseKey]map[string]time.Time // → user → when he knocked last
	tokens  map[Token]*loadedToken
}

type source struct {
	state  int
	since  time.Time
	falls  []time.Time
	banned time.Time // zero: never
}

type leaseKey struct {
	profile string
	holder  netip.Prefix
}

// NewMachine returns a machine in which nobody has a position.
func NewMachine(a *Automaton, policy Policy) *Machine {
	return &Machine{a, policy, map[netip.Addr]*source{}, map[leaseKey]time.Time{}, map[leaseKey]map[string]time.Time{}, map[Token]*loadedToken{}}
}

// Step runs one event. Events must come in the order of their times.
func (m *Machine) Step(e Event) Transition {
	src := m.sources[e.Source]
	if src == nil {
		src = &source{}
		m.sources[e.Source] = src
	}
	if m.bannedAt(src, e.Time) {
		return Transition{From: src.state, To: src.state, Why: Banned}
	}
	if m.shutOut(e) {
		return Transition{From: src.state, To: src.state, Why: ShutOut}
	}
	p, user, fate := m.spend(e)
	if fate == TokenOpens {
		m.grantUser(p, user, e)
		return Transition{From: src.state, To: src.state, Why: ByToken, Granted: []*Profile{p}, Token: fate, User: user}
	}
	if !m.policy.Strict && !m.counts(e) {
		return Transition{From: src.state, To: src.state, Why: Uncounted, Closed: m.closeLeases(e), Token: fate}
	}
	t := Transition{From: src.state, Token: fate}
	if s := &m.a.States[src.state]; src.state != Root && s.Within > 0 && e.Time.Sub(src.since) > s.Within {
		t.Expired, t.From = src.state, Root
	}
	t.Entered, t.Why = m.next(t.From, e)
	t.To = t.Entered
	switch t.Why {
	case Advance, Suffix, Start:
		t.Granted = m.grantAll(m.a.States[t.Entered].Grants, e)
		t.To = m.a.States[t.Entered].Keep
	case StartOver:
		t.Banned = m.fall(src, e.Time)
	}
	src.state, src.since = t.To, e.Time
	if !t.Banned {
		t.Closed = m.closeLeases(e)
	}
	return t
}

// next returns the state that event e leads to from position at, and why.
func (m *Machine) next(at int, e Event) (int, Cause) {
	s := &m.a.States[at]
	if at != Root {
		if to, ok := m.follow(s.Edges, e); ok {
			return to, Advance
		}
		if e.Knock == s.Last() && s.Scope.Matches(e.Dest, e.Interface) {
			return at, Repeat
		}
		if to, ok := m.follow(s.Suffix, e); ok {
			return to, Suffix
		}
	}
	if to, ok := m.follow(m.a.Starts(), e); ok {
		return to, Start
	}
	if at == Root {
		return Root, Nothing
	}
	return Root, StartOver
}

func (m *Machine) follow(edges []Edge, e Event) (int, bool) {
	for _, edge := range edges {
		if edge.Knock == e.Knock && m.a.States[edge.To].Scope.Matches(e.Dest, e.Interface) {
			return edge.To, true
		}
	}
	return Root, false
}

// counts reports whether the event is a knock of some sequence.
func (m *Machine) counts(e Event) bool {
	return slices.ContainsFunc(m.a.Alphabet(), func(l Letter) bool {
		return l.Knock == e.Knock && l.Scope.Matches(e.Dest, e.Interface)
	})
}

func (m *Machine) bannedAt(src *source, now time.Time) bool {
	return m.policy.Ban != nil && !src.banned.IsZero() && now.Sub(src.banned) <= m.policy.Ban.For
}

// fall counts a fall to the root, and reports whether it is the one that bans.
func (m *Machine) fall(src *source, now time.Time) bool {
	ban := m.policy.Ban
	if ban == nil {
		return false
	}
	src.falls = append(slices.DeleteFunc(src.falls, func(t time.Time) bool { return now.Sub(t) > ban.For }), now)
	if len(src.falls) < ban.After {
		return false
	}
	src.falls, src.banned = nil, now
	return true
}

// Position returns the source's state at a time, and when it was entered.
func (m *Machine) Position(source netip.Addr, now time.Time) (state int, since time.Time) {
	src := m.sources[source]
	if src == nil || src.state == Root {
		return Root, time.Time{}
	}
	if within := m.a.States[src.state].Within; within > 0 && now.Sub(src.since) > within {
		return Root, time.Time{}
	}
	return src.state, src.since
}

// IsBanned reports whether the source is banned at a time.
func (m *Machine) IsBanned(source netip.Addr, now time.Time) bool {
	src := m.sources[source]
	return src != nil && m.bannedAt(src, now)
}
