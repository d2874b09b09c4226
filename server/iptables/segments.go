package iptables

import (
	"slices"

	"knockkit/protocol"
)

// portUse is what a range of ports is used for: a first knock, a knock that
// gives a lease back, or a gate. One of them is set.
type portUse struct {
	first, last uint16
	start       *protocol.Edge
	back, gate  *protocol.Profile
}

// segment is a range of ports that are used alike.
type segment struct {
	first, last uint16
	uses        []portUse // at least one
}

// segments cuts ranges that may overlap into segments that do not, by port. The
// uses of a segment keep their order.
func segments(uses []portUse) []segment {
	var borders []int // where a range begins, or one has just ended
	for _, u := range uses {
		borders = append(borders, int(u.first), int(u.last)+1)
	}
	slices.Sort(borders)
	borders = slices.Compact(borders)
	cut := make([]segment, max(len(borders)-1, 0))
	for i := range cut {
		cut[i] = segment{first: uint16(borders[i]), last: uint16(borders[i+1] - 1)}
	}
	for _, u := range uses {
		i, _ := slices.BinarySearch(borders, int(u.first))
		for ; i < len(cut) && cut[i].first <= u.last; i++ {
			cut[i].uses = append(cut[i].uses, u)
		}
	}
	return slices.DeleteFunc(cut, func(s segment) bool { return len(s.uses) == 0 })
}

// usesOf lists how the ports of a protocol are used: first knocks, then knocks
// that give a lease back, then gates by the profiles' names.
func (r *render) usesOf(proto protocol.Proto) []portUse {
	uses := r.startsOf(proto)
	for _, p := range r.Automaton.Profiles {
		if p.Close != nil && p.Close.Proto == proto {
			uses = append(uses, portUse{first: p.Close.Port, last: p.Close.Port, back: p})
		}
	}
	return append(uses, r.gatesOf(proto, func(*protocol.Profile) bool { return true })...)
}

func (r *render) startsOf(proto protocol.Proto) []portUse {
	var uses []portUse
	for _, e := range r.Automaton.Starts() {
		if e.Knock.Proto == proto {
			uses = append(uses, portUse{first: e.Knock.Port, last: e.Knock.Port, start: &e})
		}
	}
	return uses
}

func (r *render) gatesOf(proto protocol.Proto, which func(*protocol.Profile) bool) []portUse {
	var uses []portUse
	for _, p := range r.Automaton.Profiles {
		for _, open := range p.Open {
			if open.Proto == proto && which(p) {
				uses = append(uses, portUse{first: open.First, last: open.Last, gate: p})
			}
		}
	}
	return uses
}

// profiles returns the profiles with a gate on the segment.
func (s segment) profiles() []*protocol.Profile {
	var all []*protocol.Profile
	for _, u := range s.uses {
		if u.gate != nil && !slices.Contains(all, u.gate) {
			all = append(all, u.gate)
		}
	}
	return all
}
