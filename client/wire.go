package client

import (
	"context"
	"net/netip"
	"time"

	"knockkit/protocol"
)

// A wire puts packets on the network. Each is a new flow: the server's
// connection tracking must never take one for the repetition of another.
type wire interface {
	// knock sends exactly one packet before it returns. An error means that
	// nothing left this machine.
	knock(to netip.Addr, k protocol.Knock) (flight, error)
	// check starts a connection to the opened port.
	check(to netip.Addr, port uint16) (flight, error)
}

// A flight is a packet that left.
type flight interface {
	// wait returns what came back, NoReply at the given time or when ctx ends.
	// It closes the socket, after which nothing more is sent.
	wait(ctx context.Context, until time.Time) Reply
}

// network is the wire of this machine.
type network struct{}

func (network) knock(to netip.Addr, k protocol.Knock) (flight, error) {
	switch k.Proto {
	case protocol.TCP:
		return connect(netip.AddrPortFrom(to, k.Port), true)
	case protocol.UDP:
		return sendDatagram(netip.AddrPortFrom(to, k.Port))
	default:
		return sendEcho(to)
	}
}

func (network) check(to netip.Addr, port uint16) (flight, error) {
	return connect(netip.AddrPortFrom(to, port), false)
}

// landed is a flight whose answer was there at once, as on loopback.
type landed Reply

func (l landed) wait(context.Context, time.Time) Reply { return Reply(l) }
