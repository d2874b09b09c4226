package client

import (
	"net/netip"
	"slices"
	"time"

	"knockkit/protocol"
)

// A State is how a host or an address ended up.
type State string

// The states, best first.
const (
	Open        State = "open"        // the check was accepted
	Knocked     State = "knocked"     // the sequence was sent; nothing could tell more
	Refused     State = "refused"     // the check was refused: the gate rejects, or nothing listens
	Filtered    State = "filtered"    // the check got no reply
	Unreachable State = "unreachable" // no route, or a router said so
	Broken      State = "failed"      // this machine could not send
)

func states() []State { return []State{Open, Knocked, Refused, Filtered, Unreachable, Broken} }

// Result is what one host made of a knock.
type Result struct {
	Profile string
	Host    string
	Addrs   []AddrResult // one of each family that was knocked on, IPv4 first
}

// State is the best state of the host's addresses: one dead family does not
// make a knock fail.
func (r Result) State() State {
	best := len(states()) - 1
	for _, a := range r.Addrs {
		best = min(best, slices.Index(states(), a.State))
	}
	return states()[best]
}

// Addr returns the address to connect to: of those in the best state the one
// that got there first. It is the zero Addr when none is open or knocked.
func (r Result) Addr() netip.Addr {
	if best := r.best(); best != nil && best.State.ok() {
		return best.Addr
	}
	return netip.Addr{}
}

func (r Result) best() *AddrResult {
	var best *AddrResult
	for i := range r.Addrs {
		a := &r.Addrs[i]
		if a.State == r.State() && (best == nil || a.Took < best.Took) {
			best = a
		}
	}
	return best
}

func (s State) ok() bool { return s == Open || s == Knocked }

// AddrResult is what one address made of a knock.
type AddrResult struct {
	Family   protocol.Family
	Addr     netip.Addr
	State    State
	Attempts int
	Took     time.Duration // until the state was known
	Packets  []Packet      // in the order in which they left
	Err      error         // why this machine could not send; else nil
}

// A Packet is a knock or a check that left, and what came back.
type Packet struct {
	Attempt int // from 1
	Knock   protocol.Knock
	Check   bool          // the connection to the opened port
	Sent    time.Duration // since the first packet to this address
	Reply   Reply
	After   time.Duration // from leaving to the reply; 0 without one
}

// A Reply is what came back for a packet.
type Reply string

// The replies.
const (
	NoReply      Reply = "no reply"
	Answered     Reply = "answered"    // an echo reply, or a datagram
	Accepted     Reply = "accepted"    // a TCP connection
	RefusedReply Reply = "refused"     // a TCP reset, or ICMP "port unreachable"
	NotReachable Reply = "unreachable" // any other ICMP error
)
