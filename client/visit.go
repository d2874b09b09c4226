package client

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"knockkit/protocol"
)

// visit is the knocking on one address.
type visit struct {
	*shared
	addr     netip.Addr
	start    time.Time
	flights  sync.WaitGroup
	answered chan struct{} // closed when a knock was answered

	mu      sync.Mutex // the flights write here when they end
	packets []Packet
	known   bool          // heard is closed
	rtt     time.Duration // the shortest so far; 0: nothing came back yet
}

// run makes attempts until one opens or there is no use in another.
func (v *visit) run(ctx context.Context) AddrResult {
	v.start, v.answered = time.Now(), make(chan struct{})
	a := AddrResult{Family: protocol.FamilyOf(v.addr), Addr: v.addr}
	attempts := max(1, v.Profile.Client.Attempts)
	if !v.verified() {
		attempts = 1
	}
	for a.Attempts < attempts && ctx.Err() == nil && a.Err == nil && !v.givenUp(a.Attempts) {
		if a.Attempts > 0 && sleepUntil(ctx, time.Now().Add(v.stagger())) != nil {
			break
		}
		a.Attempts++
		var reply Reply
		reply, a.Err = v.attempt(ctx, a.Attempts)
		a.Outcome = v.stateFor(reply, a.Err)
		if a.Outcome == Open {
			v.opened.Store(true)
			break
		}
	}
	a.Took, a.Packets = time.Since(v.start), v.packets
	if a.Outcome == "" || ctx.Err() != nil && !a.Outcome.OK() {
		a.Outcome, a.Err = Broken, a.unfinished(ctx, a.Addr.String())
	}
	return a
}

// mostStagger bounds the pause before a later attempt.
const mostStagger = 500 * time.Millisecond

// stagger is a pause before a later attempt, by chance: two sequences from one address that met would
// else meet again. Up to ten times as long as the sequence takes, it lets four of five pass each other.
func (v *visit) stagger() time.Duration {
	return v.wire.stagger(min(mostStagger, 10*max(v.Profile.Client.Gap, protocol.DefaultGap)*time.Duration(len(v.Profile.Knocks()))))
}

// unfinished says what was not done for a host or an address when ctx ended.
func (a AddrResult) unfinished(ctx context.Context, name string) error {
	if a.LastCheck() != nil {
		return unfinished(ctx, true, "%s did not open", name)
	}
	if len(a.Packets) == 0 {
		return unfinished(ctx, false, "no knock was sent to %s", name)
	}
	return unfinished(ctx, false, "the sequence for %s was not finished", name)
}

// givenUp reports whether another attempt would only keep the caller waiting:
// the host is open over the other family, and from this address nothing ever
// came back. An address that does answer gets its attempts.
func (v *visit) givenUp(attempts int) bool {
	return attempts > 0 && v.opened.Load() && v.roundTrip() == 0
}

func (v *visit) stateFor(reply Reply, err error) Outcome {
	switch {
	case unreachable(err):
		return Unreachable
	case err != nil:
		return Broken
	case !v.verified():
		return Knocked
	case reply == Accepted:
		return Open
	case reply == RefusedReply:
		return Refused
	case reply == NotReachable:
		return Unreachable
	}
	return Filtered
}

// launch records a packet that left, and lets its flight end by itself. The reply goes to replies,
// which must have room for it.
func (v *visit) launch(ctx context.Context, f flight, p Packet, step int, until time.Time, replies chan<- Reply) {
	sent := time.Now()
	p.Sent = sent.Sub(v.start)
	v.mu.Lock()
	at := len(v.packets)
	v.packets = append(v.packets, p)
	v.mu.Unlock()
	v.observe(Progress{Addr: v.addr, Step: step, Packet: p})
	v.flights.Go(func() {
		p.Reply = f.wait(ctx, until)
		if p.Reply != NoReply {
			p.After = time.Since(sent)
		}
		v.land(at, p)
		if p.Reply != NoReply {
			v.observe(Progress{Addr: v.addr, Step: step, Packet: p})
		}
		replies <- p.Reply
	})
}

// land records the reply to packet at.
func (v *visit) land(at int, p Packet) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.packets[at] = p
	if p.Reply == NoReply || v.rtt > 0 && p.After >= v.rtt {
		return
	}
	if !p.Check && !v.known {
		v.known = true
		close(v.answered)
	}
	v.rtt = max(p.After, 1) // a clock may be coarse; 0 means that nothing came back
}

func (v *visit) roundTrip() time.Duration {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.rtt
}
