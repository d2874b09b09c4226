package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"knockkit/protocol"
)

// A wire puts packets on the network. Each is a new flow: the server's
// connection tracking must never take one for the repetition of another.
type wire interface {
	// knock sends exactly one packet before it returns: it carries the token, if
	// there is one. An error means that nothing left this machine.
	knock(to netip.Addr, k protocol.Knock, token *protocol.Token) (flight, error)
	// check starts a connection to the opened port.
	check(to netip.Addr, port uint16) (flight, error)
	// stagger returns a pause of less than most, by chance.
	stagger(most time.Duration) time.Duration
}

// A flight is a packet that left.
type flight interface {
	// wait returns what came back, NoReply at the given time or when ctx ends.
	// It closes the socket, after which nothing more is sent.
	wait(ctx context.Context, until time.Time) Reply
}

// network is the wire of this machine. The zero value leaves it to the system's
// routes where packets leave.
type network struct {
	source netip.Addr     // the zero Addr: the system chooses
	device *net.Interface // nil: any
}

func (n network) knock(to netip.Addr, k protocol.Knock, token *protocol.Token) (f flight, err error) {
	switch k.Proto {
	case protocol.TCP:
		f, err = n.connect(netip.AddrPortFrom(to, k.Port), true)
	case protocol.UDP:
		f, err = n.sendDatagram(netip.AddrPortFrom(to, k.Port), token)
	default:
		f, err = n.sendEcho(to, token)
	}
	if err != nil {
		return nil, unsent(to, err)
	}
	return f, nil
}

// unsent is the error of a knock that could not be sent. The sequence is a secret: errors of
// package net name the port, and those of others the kind of the knock. Nothing but the reason
// is taken from them.
func unsent(to netip.Addr, err error) error {
	if p := new(*PrivilegeError); errors.As(err, p) {
		return *p // what the caller can mend
	}
	return fmt.Errorf("cannot send to %s: %w", to, reasonOf(err))
}

// reasonOf returns why a socket could not do something, without what it was to do.
func reasonOf(err error) error {
	if n := new(syscall.Errno); errors.As(err, n) {
		return *n
	}
	for op := new(net.OpError); errors.As(err, &op); {
		err = op.Err
	}
	return err
}

func (network) stagger(most time.Duration) time.Duration { return rand.N(most) }

func (n network) check(to netip.Addr, port uint16) (flight, error) {
	on := netip.AddrPortFrom(to, port)
	f, err := n.connect(on, false)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", on, reasonOf(err))
	}
	return f, nil
}

// landed is a flight whose answer was there at once, as on loopback.
type landed Reply

func (l landed) wait(context.Context, time.Time) Reply { return Reply(l) }

// replyOf reads a socket's error as an answer from the network. sent is false
// for errors of this machine, as a missing route, and for none.
func replyOf(err error) (reply Reply, sent bool) {
	switch {
	case isAny(err, refusals()):
		return RefusedReply, true
	case unreachable(err):
		return NotReachable, false // the same number for a missing route and for a router's word
	}
	return NoReply, false
}

// unreachable reports whether there is no way to the address.
func unreachable(err error) bool { return isAny(err, dead()) }

func isAny(err error, numbers []syscall.Errno) bool {
	return slices.ContainsFunc(numbers, func(n syscall.Errno) bool { return errors.Is(err, n) })
}

// endWith sets a socket's deadline, and ends it at once when ctx does.
func endWith(ctx context.Context, setDeadline func(time.Time) error, until time.Time) (stop func() bool) {
	_ = setDeadline(until)
	return context.AfterFunc(ctx, func() { _ = setDeadline(time.Unix(1, 0)) })
}

// udpFlight waits for what a datagram brings back.
type udpFlight struct{ conn net.Conn }

// sendDatagram sends the token, else one byte: some firewalls drop empty datagrams.
func (n network) sendDatagram(to netip.AddrPort, token *protocol.Token) (flight, error) {
	data := []byte{0}
	if token != nil {
		data = token[:]
	}
	conn, err := n.dialer("udp").Dial("udp", to.String())
	if err != nil {
		return nil, err
	}
	if _, err := conn.Write(data); err != nil {
		conn.Close()
		return nil, err
	}
	return &udpFlight{conn}, nil
}

func (f *udpFlight) wait(ctx context.Context, until time.Time) Reply {
	defer f.conn.Close()
	stop := endWith(ctx, f.conn.SetReadDeadline, until)
	defer stop()
	if _, err := f.conn.Read(make([]byte, 1)); err != nil {
		reply, _ := replyOf(err)
		return reply
	}
	return Answered
}
