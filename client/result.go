package client

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"knockkit/protocol"
)

// Outcome is how a host or an address ended up.
type Outcome string

// The outcomes, best first.
const (
	Open        Outcome = "open"        // the check was accepted
	Knocked     Outcome = "knocked"     // the sequence was sent; nothing could tell more
	Refused     Outcome = "refused"     // the check was refused: the gate rejects, or nothing listens
	Filtered    Outcome = "filtered"    // the check got no reply
	Unreachable Outcome = "unreachable" // no route, or a router said so
	Broken      Outcome = "failed"      // this machine could not send, or not to the end
)

func states() []Outcome { return []Outcome{Open, Knocked, Refused, Filtered, Unreachable, Broken} }

// Result is the result of a knock on one host.
type Result struct {
	Profile string
	Host    string

	// Source and Interface are those of the target.
	Source    netip.Addr
	Interface string

	Addrs []AddrResult // one of each family that was knocked on, IPv4 first

	closing bool // it is of Close
}

// Outcome is the best outcome of the host's addresses: one dead family does not
// make a knock fail.
func (r Result) Outcome() Outcome {
	best := len(states()) - 1
	for _, a := range r.Addrs {
		best = min(best, slices.Index(states(), a.Outcome))
	}
	return states()[best]
}

// Addr returns the address to connect to: of those with the best outcome the one
// that got there first. It is the zero Addr when none is open or knocked.
func (r Result) Addr() netip.Addr {
	if best := r.Best(); best != nil && best.Outcome.OK() {
		return best.Addr
	}
	return netip.Addr{}
}

// Best returns the address that [Result.Addr] is about, whatever its outcome; nil: none was tried.
func (r Result) Best() *AddrResult {
	var best *AddrResult
	for i := range r.Addrs {
		a := &r.Addrs[i]
		if a.Outcome == r.Outcome() && (best == nil || a.Took < best.Took) {
			best = a
		}
	}
	return best
}

// OK reports whether the port is open, as far as anybody can tell: Open or Knocked.
func (s Outcome) OK() bool { return s == Open || s == Knocked }

// AddrResult is the result of a knock on one address.
type AddrResult struct {
	Family   protocol.Family
	Addr     netip.Addr
	Outcome  Outcome
	Attempts int
	Took     time.Duration // until the outcome was known
	Packets  []Packet      // in the order in which they left
	Err      error         // why this machine could not send, or what of it was not done when the context ended; else nil
}

// A Packet is a knock or a check that left, and what came back.
type Packet struct {
	Attempt int // from 1
	Knock   protocol.Knock
	Slot    int64         // of the token that a signed knock carries; 0 for others
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

// NotOpenError says that a host was knocked on but did not open. Its Result has the packets and
// replies.
type NotOpenError struct{ Result Result }

func (e *NotOpenError) Error() string {
	if e.Result.closing {
		return fmt.Sprintf("%s was not sent the close knock: %s", e.Result.Host, e.Result.summary())
	}
	return fmt.Sprintf("%s did not open: %s", e.Result.Host, e.Result.summary())
}

// PrivilegeError says that this machine lets the caller send no ICMP echo
// request.
type PrivilegeError struct {
	Commands []string // any one of which, run as root, allows it
	Err      error
}

func (e *PrivilegeError) Error() string {
	return fmt.Sprintf("cannot send an icmp knock: %v", e.Err)
}

func (e *PrivilegeError) Unwrap() error { return e.Err }

// UnfinishedError says what the end of the context kept from being done. It unwraps to the
// context's error.
type UnfinishedError struct {
	Text    string // as "the sequence for 198.51.100.1 was not finished"
	Checked bool   // a whole sequence had left and the check was under way: the port did not open
	Err     error  // the context's
}

func (e *UnfinishedError) Error() string {
	if errors.Is(e.Err, context.DeadlineExceeded) {
		return e.Text + " in time"
	}
	return e.Text + ": interrupted"
}

func (e *UnfinishedError) Unwrap() error { return e.Err }

// unfinished returns an [*UnfinishedError] if ctx has ended, else nil.
func unfinished(ctx context.Context, checked bool, format string, args ...any) error {
	err := ctx.Err()
	if end, has := ctx.Deadline(); err == nil && has && !time.Now().Before(end) {
		err = context.DeadlineExceeded // a socket with the same deadline may be told before ctx is
	}
	if err == nil {
		return nil
	}
	return &UnfinishedError{fmt.Sprintf(format, args...), checked, err}
}

// ProfileError says that the profile cannot be knocked on this way or on this
// host, whatever the network does.
type ProfileError struct {
	Profile string
	Text    string
}

func (e *ProfileError) Error() string { return fmt.Sprintf("profile %s %s", e.Profile, e.Text) }

// summary says in one line what each address did.
func (r Result) summary() string {
	var parts []string
	for _, a := range r.Addrs {
		text := fmt.Sprintf("%s %s", a.Addr, a.Outcome)
		if a.Err != nil {
			text = a.Err.Error()
		} else if last := a.LastCheck(); last != nil {
			text = fmt.Sprintf("%s of %s: %s", last.Knock, a.Addr, last.Reply)
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, "; ")
}

// LastCheck returns the last connection to the opened port; nil: there was none.
func (a AddrResult) LastCheck() *Packet {
	for i := len(a.Packets) - 1; i >= 0; i-- {
		if a.Packets[i].Check {
			return &a.Packets[i]
		}
	}
	return nil
}
