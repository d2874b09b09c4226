package backend

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"knockkit/protocol"
)

// HandshakeTime is how long the SYN that used up a lease of `once` may come again: it is sent again
// after 1, 3, 7 and 15 s. Not for ever: a client that never sends the ACK keeps conntrack's entry as
// it is, and would have connections in store.
const HandshakeTime = 16 * time.Second

// SameTime is how far the time that a lease has left may be from the profile's own, so that the lease begins
// anew: a recency table knows only entries that begin now.
const SameTime = 2 * time.Second

// LeasesEnd says why leases of one version of a profile are no leases of another: a phrase such as
// "not given for 22/tcp", or "" where they stay. A lease is for what it was given for, so it ends
// where it would open another port, more destinations or interfaces, or more connections.
// `sequence`, `from` and `lease` do not end leases.
func LeasesEnd(was, will *protocol.Profile, f protocol.Family) string {
	more := MorePorts(was.Open, will.Open)
	old, now := was.ScopeIn(f), will.ScopeIn(f)
	switch {
	case len(more) > 0:
		return "not given for " + strings.Join(more, ", ")
	case old.Interface != "" && old.Interface != now.Interface:
		return fmt.Sprintf("given for interface %s only", old.Interface)
	case len(old.To) > 0 && (len(now.To) == 0 || slices.ContainsFunc(now.To, func(p netip.Prefix) bool { return !Inside(p, old.To) })):
		return fmt.Sprintf("given for connections to %s only", protocol.PrefixTexts(old.To))
	case was.Once && !will.Once:
		return "given for one connection each"
	case was.Prefix(f) != will.Prefix(f):
		return "given for another `prefix`"
	}
	return ""
}

// MorePorts returns the ranges, as a profile writes them, that are not whole in those of before.
func MorePorts(was, will []protocol.PortRange) (more []string) {
	for _, o := range will {
		if !opensAll(o, was) {
			more = append(more, o.String())
		}
	}
	return more
}

// Inside reports whether all of a prefix lies in one of the others.
func Inside(p netip.Prefix, others []netip.Prefix) bool {
	return slices.ContainsFunc(others, func(o netip.Prefix) bool { return o.Bits() <= p.Bits() && o.Contains(p.Addr()) })
}

// opensAll reports whether all ports of a range are in others, perhaps in several of them.
func opensAll(r protocol.PortRange, others []protocol.PortRange) bool {
	for next := int(r.First); next <= int(r.Last); next++ {
		i := slices.IndexFunc(others, func(o protocol.PortRange) bool {
			return o.Contains(protocol.Knock{Proto: r.Proto, Port: uint16(next)})
		})
		if i < 0 {
			return false
		}
		next = int(others[i].Last)
	}
	return true
}

// LeasesStay returns which profiles of the automaton keep their leases: those that are installed,
// and open no more than the installed version.
func LeasesStay(was []*protocol.Profile, a *protocol.Automaton) map[string]bool {
	stay := map[string]bool{}
	for _, old := range was {
		if p := protocol.Find(a.Profiles, old.Name); p != nil {
			stay[p.Name] = LeasesEnd(old, p, a.Family) == ""
		}
	}
	return stay
}

// KeepLeases returns the leases among sources that stay leases when the profiles that they were
// given for are replaced by others.
func KeepLeases(sources []Source, was, will []*protocol.Profile) []Source {
	var kept []Source
	for _, s := range sources {
		old, now := protocol.Find(was, s.Profile), protocol.Find(will, s.Profile)
		if s.State == Open && old != nil && now != nil && LeasesEnd(old, now, protocol.FamilyOf(s.Address.Addr())) == "" {
			kept = append(kept, s)
		}
	}
	return kept
}

// Ended is what a command has ended: the lease of a profile that a holder had, or with Profile "" a
// ban and the falls that count towards one.
type Ended struct {
	Profile string
	Holder  netip.Prefix
	Inside  bool // also those of every address and prefix inside it
}

// IsEnded reports whether a lease of the profile, or with "" a ban, is among those that were ended.
func IsEnded(all []Ended, profile string, holder netip.Prefix) bool {
	return slices.ContainsFunc(all, func(e Ended) bool {
		return e.Profile == profile && (e.Holder == holder || e.Inside && Inside(holder, []netip.Prefix{e.Holder}))
	})
}

// Position is a source in a state of the automaton.
type Position struct {
	Address   netip.Addr
	Users     []protocol.Use // of the state
	Age, Left time.Duration  // since the source entered it; until its time is over
	Unlimited bool           // Left has no meaning
}

// ListPositions lists the newest of the positions as sources, and counts those of each profile. A
// state at the end of a profile's sequence is no position of that profile.
func ListPositions(all []Position, newest int) (list []Source, byProfile map[string]int) {
	byProfile = map[string]int{}
	slices.SortStableFunc(all, func(x, y Position) int { return cmp.Compare(x.Age, y.Age) })
	for i, p := range all {
		for _, u := range p.Users {
			steps := len(u.Profile.Sequence)
			if u.Step == steps {
				continue
			}
			byProfile[u.Profile.Name]++
			if i < newest {
				list = append(list, Source{Profile: u.Profile.Name, Address: netip.PrefixFrom(p.Address, p.Address.BitLen()), State: Knocking,
					Step: u.Step, Steps: steps, Left: p.Left, Unlimited: p.Unlimited})
			}
		}
	}
	return list, byProfile
}
