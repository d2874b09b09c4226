package iptables

import (
	"slices"

	"knockkit/internal/kernel/backend"
	"knockkit/protocol"
)

// portUse is what a range of ports is used for: a first knock, a knock that
// gives a lease back, or a gate. One of them is set.
type portUse struct {
	start       *protocol.Edge
	close, gate *protocol.Profile
}

type (
	portRange   = backend.Range[portUse]
	portSegment = backend.Segment[portUse]
)

func onePort(port uint16, use portUse) portRange {
	return portRange{First: port, Last: port, Use: use}
}

// usesOf lists how the ports of a protocol are used: first knocks, then knocks
// that give a lease back, then gates by the profiles' names.
func (r *renderer) usesOf(proto protocol.Proto) []portRange {
	uses := r.startsOf(proto)
	for _, p := range r.Automaton.Profiles {
		if p.Close != nil && p.Close.Proto == proto {
			uses = append(uses, onePort(p.Close.Port, portUse{close: p}))
		}
	}
	return append(uses, r.gatesOf(proto, atInput)...)
}

func (r *renderer) startsOf(proto protocol.Proto) []portRange {
	var uses []portRange
	for _, e := range r.Automaton.Starts() {
		if e.Knock.Proto == proto {
			uses = append(uses, onePort(e.Knock.Port, portUse{start: &e}))
		}
	}
	return uses
}

// atInput and early say which profiles have a gate at the input and before
// destination NAT: all have the first.
func atInput(*protocol.Profile) bool     { return true }
func beforeNAT(p *protocol.Profile) bool { return p.Place == protocol.PlacePrerouting }

func (r *renderer) gatesOf(proto protocol.Proto, which func(*protocol.Profile) bool) []portRange {
	var uses []portRange
	for _, p := range r.Automaton.Profiles {
		for _, open := range p.Open {
			if open.Proto == proto && which(p) {
				uses = append(uses, portRange{First: open.First, Last: open.Last, Use: portUse{gate: p}})
			}
		}
	}
	return uses
}

// gatesOn returns the profiles with a gate on the segment.
func gatesOn(s portSegment) []*protocol.Profile {
	var all []*protocol.Profile
	for _, u := range s.Uses {
		if u.gate != nil && !slices.Contains(all, u.gate) {
			all = append(all, u.gate)
		}
	}
	return all
}
