package service

import (
	"context"
	"slices"
	"time"

	"knockkit/internal/follow"
	"knockkit/internal/kernel/backend"
	"knockkit/server/events"
)

// stepAtLeast is by how much the machine's clock must jump to count as set.
const stepAtLeast = 2 * time.Second

// stepper notices when the machine's clock is set, by comparing it with a clock that is never set.
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

// keepTimes gives leases the time back that a step of the clock took from them, or added: with
// iptables, leases given by hand end at a time of day. It returns a reading from afterwards.
func (k *keeper) keepTimes(ctx context.Context, by time.Duration, snapshot events.Snapshot) events.Snapshot {
	changed := false
	for _, s := range moved(k.memory.Running(k.clock().Up, k.wanted.Profiles), by, snapshot.Sources) {
		left := s.Left.Round(time.Second)
		if _, err := k.host.Grant(ctx, s.Profile, s.Address, left); err != nil {
			k.Log.Warn("a lease has lost its time", "profile", s.Profile, "address", s.Address, "err", err)
			continue
		}
		changed = true
		k.Log.Info("a lease keeps its time", "profile", s.Profile, "address", s.Address, "left", left)
	}
	if !changed {
		return snapshot
	}
	again, err := k.reader.fresh(ctx)
	if err != nil {
		return snapshot
	}
	return again
}

// moved returns those of the leases whose end a step of the clock has moved, with the time that they
// should have left. sources is what the kernel has.
func moved(leases []backend.Source, by time.Duration, sources []backend.Source) []backend.Source {
	left := map[follow.Key]time.Duration{}
	for _, s := range sources {
		if s.State == backend.Open {
			left[follow.Key{Profile: s.Profile, Holder: s.Address}] = s.Left
		}
	}
	return slices.DeleteFunc(leases, func(should backend.Source) bool {
		is, still := left[follow.Key{Profile: should.Profile, Holder: should.Address}]
		gone := !still && by >= should.Left
		shifted := still && (should.Left-is-by).Abs() < stepAtLeast
		return should.Unlimited || !gone && !shifted
	})
}
