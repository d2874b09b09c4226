package events

import "time"

// Moment is a point in time on two clocks. Durations are measured on the one that nobody sets: a
// step of the machine's clock ends no position and no lease.
type Moment struct {
	Wall time.Time     // for people
	Up   time.Duration // since some fixed point; never steps
}

// Clock tells the time.
type Clock func() Moment

// SystemClock returns the machine's clock.
func SystemClock() Clock {
	start := time.Now() // carries a reading of the clock that nobody sets
	return func() Moment {
		now := time.Now()
		return Moment{Wall: now.Round(0), Up: now.Sub(start)}
	}
}
