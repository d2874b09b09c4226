package client

import (
	"context"
	"time"
)

// attempt sends the sequence once, or a signed knock, and, if the profile can be verified, the check.
// It returns the reply to the check. All its sockets are closed when it returns: a SYN that the kernel
// repeats would disturb the next attempt.
func (v *visit) attempt(ctx context.Context, n int) (Reply, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer v.flights.Wait()
	defer cancel()
	pl := planFor(v.Profile, n, v.roundTrip(), v.verified())
	if v.Plain {
		pl = plan{wait: v.Profile.Client.Gap, copies: 1, settle: v.Profile.Client.Gap}
	}
	all, err := v.sendings(ctx)
	if err != nil {
		return NoReply, err
	}
	due := time.Now()
	for step := range all {
		if due, err = v.step(ctx, n, all, step, pl, due); err != nil {
			return NoReply, err
		}
	}
	v.sent()
	if !v.verified() {
		return NoReply, nil
	}
	return v.check(ctx, n, len(all), pl)
}

// step sends one knock, with its copies, from when it is due on, and returns when
// the next may leave. Knocks follow a timetable: a late packet does not delay all
// that come after it.
func (v *visit) step(ctx context.Context, n int, all []sending, step int, pl plan, due time.Time) (time.Time, error) {
	s := all[step]
	last := step == len(all)-1
	replies := make(chan Reply, pl.copies)
	first := due
	for i := range pl.copies {
		f, err := v.wire.knock(v.addr, s.knock, s.token)
		if err != nil {
			return due, err
		}
		sent := time.Now()
		v.launch(ctx, f, Packet{Attempt: n, Knock: s.knock, Slot: s.slot}, step, sent.Add(lifetime), replies)
		final := last && !v.verified() // nothing follows that it must stay ahead of
		if final && i == pl.copies-1 {
			return due, nil
		}
		due = later(first.Add(pl.wait*time.Duration(i+1)/time.Duration(pl.copies)), sent.Add(pl.settle/2))
		if !pl.early {
			if err := sleepUntil(ctx, due); err != nil {
				return due, err
			}
			continue
		}
		answered, err := answeredBefore(ctx, due, replies)
		if err != nil {
			return due, err
		}
		if answered && final {
			return due, nil
		}
		if answered {
			// It has arrived; only the copies before it may still be on their way.
			if settled := sent.Add(pl.settle); settled.Before(due) {
				due = settled
			}
			due = later(due, time.Now())
			return due, sleepUntil(ctx, due)
		}
	}
	return due, nil
}

// checks is how often an attempt connects to the opened port: the kernel's own
// repetition would come after 1 s only.
const checks = 3

// check connects to the opened port, with a new socket each time, the tries
// spread over the window. A host whose replies to the knocks are still on their
// way may turn out to be near, which makes the window shorter.
func (v *visit) check(ctx context.Context, n, step int, pl plan) (Reply, error) {
	k, _ := checkPort(v.Profile)
	start := time.Now()
	end := func(try int) time.Time {
		return start.Add(min(pl.window, window(v.roundTrip())) * time.Duration(try) / checks)
	}
	replies := make(chan Reply, checks)
	answered := v.answered
	for try := 1; try <= checks; try++ {
		f, err := v.wire.check(v.addr, k.Port)
		if err != nil {
			return NoReply, err
		}
		v.launch(ctx, f, Packet{Attempt: n, Knock: k, Check: true}, step, start.Add(pl.window), replies)
		for time.Now().Before(end(try)) {
			reply, err := replyBefore(ctx, end(try), replies, answered)
			if err != nil || reply != NoReply {
				return reply, err
			}
			select {
			case <-answered:
				answered = nil // the window does not change again
			default:
			}
		}
	}
	return NoReply, nil
}

// answeredBefore reports whether anything came back before the given time.
func answeredBefore(ctx context.Context, until time.Time, replies <-chan Reply) (bool, error) {
	reply, err := replyBefore(ctx, until, replies, nil)
	return reply != NoReply, err
}

// replyBefore returns the first reply before the given time, else NoReply, also
// when heard is closed.
func replyBefore(ctx context.Context, until time.Time, replies <-chan Reply, answered <-chan struct{}) (Reply, error) {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	for {
		select {
		case reply := <-replies:
			if reply != NoReply {
				return reply, nil
			}
		case <-answered:
			return NoReply, nil
		case <-timer.C:
			return NoReply, nil
		case <-ctx.Done():
			return NoReply, ctx.Err()
		}
	}
}

func sleepUntil(ctx context.Context, until time.Time) error {
	_, err := replyBefore(ctx, until, nil, nil)
	return err
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
