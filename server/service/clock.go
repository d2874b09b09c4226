package service

import (
	"context"
	"time"

	"knockkit/server/backend"
	"knockkit/server/events"
)

// stepAtLeast is by how much the machine's clock must jump to be noticed.
const stepAtLeast = 2 * time.Second

// stepper notices when the machine's clock is set: by the other one, which never is.
type stepper struct {
	last events.Moment
	any  bool
}

// step returns by how much the clock was set since the last call; 0: it was not.
func (s *stepper) step(now events.Moment) time.Duration {
	by := now.Wall.Sub(s.last.Wall) - (now.Up - s.last.Up)
	known := s.any
	s.last, s.any = now, true
	if !known || by.Abs() < stepAtLeast {
		return 0
	}
	return by.Round(time.Second)
}

// keepTimes gives leases the time back that a step of the clock took from them, or
// added: with iptables, those that were given for a time of their own end at a time
// of day. It returns who holds what afterwards.
func (k *keeper) keepTimes(ctx context.Context, by time.Duration, held []backend.Source) []backend.Source {
	changed := false
	for _, s := range k.memory.moved(k.clock(), by, held) {
		left := s.Left.Round(time.Second)
		if _, err := k.host.Grant(ctx, s.Profile, s.Address, left); err != nil {
			k.Log.Warn("a lease has lost its time", "profile", s.Profile, "address", s.Address, "err", err)
			continue
		}
		changed = true
		k.Log.Info("a lease keeps its time", "profile", s.Profile, "address", s.Address, "left", left)
	}
	if !changed {
		return held
	}
	_, again, err := k.host.Look(ctx)
	if err != nil {
		return held
	}
	return again
}

// moved returns the leases whose end a step of the clock has moved, with the time
// that they should have.
func (m *memory) moved(now events.Moment, by time.Duration, held []backend.Source) []backend.Source {
	left := map[holding]time.Duration{}
	for _, s := range held {
		if s.State == backend.Open {
			left[holding{s.Profile, s.Address}] = s.Left
		}
	}
	var moved []backend.Source
	for h, until := range m.leases {
		should := until - now.Up
		if until == 0 || should < time.Second {
			continue
		}
		is, still := left[h]
		gone := !still && by >= should
		shifted := still && (should-is-by).Abs() < stepAtLeast
		if gone || shifted {
			moved = append(moved, backend.Source{Profile: h.profile, Address: h.holder, State: backend.Open, Left: should})
		}
	}
	return moved
}
