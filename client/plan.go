package client

import (
	"time"

	"knockkit/protocol"
)

// lifetime is how long a socket may wait for its answer. The kernel sends a
// SYN again after 1 s, and a second SYN would be a second knock.
const lifetime = 900 * time.Millisecond

// A plan is the timing of one attempt.
type plan struct {
	wait   time.Duration // from one knock to the next, and to the check
	copies int           // how often each knock is sent within its wait
	early  bool          // a reply to a knock ends its wait
	settle time.Duration // but the next packet never follows sooner than this
	window time.Duration // how long the check may take; at most lifetime
}

// planFor returns the timing of an attempt (from 1).
//
// The first is as fast as the profile allows: on a clean path its time is the
// gaps and one round trip. It fails when a packet is lost, or when two knocks
// overtake each other on the way. Later ones are made for such paths: five
// times slower each, so that jitter between neighbours does not matter, and
// with two copies of each knock, then three, spread over the wait. An attempt
// that nothing will verify has no later ones to repair it, so it is sent as a
// second one.
//
// rtt is the shortest round trip seen so far, 0 when nothing came back yet.
func planFor(p *protocol.Profile, attempt int, rtt time.Duration, verified bool) plan {
	gap := p.Client.Gap
	pl := plan{wait: gap, copies: 1, settle: gap, window: window(rtt)}
	if !verified {
		attempt = max(attempt, 2)
	}
	if attempt > 1 {
		gap = max(gap, protocol.DefaultGap)
		pl.wait = max(gap*pow5(attempt-1), 2*rtt)
		pl.copies, pl.early = min(attempt, 3), true
	}
	// At most half the time the server allows: when the first copy of one knock
	// and the last copy of the next are lost or delayed, it is still in time.
	if limit := p.ShortestWithin(); limit > 0 {
		pl.wait = min(pl.wait, limit/2)
		pl.settle = min(pl.settle, pl.wait)
	}
	return pl
}

// pow5 returns 5 to the power of n, at most 25: an attempt that takes longer
// helps nobody.
func pow5(n int) time.Duration {
	if n == 1 {
		return 5
	}
	return 25
}

// window returns how long to wait for the check. A host that answered other
// packets after rtt is given three times as long, and time to think.
func window(rtt time.Duration) time.Duration {
	if rtt == 0 {
		return lifetime
	}
	return min(max(3*rtt+200*time.Millisecond, 300*time.Millisecond), lifetime)
}
