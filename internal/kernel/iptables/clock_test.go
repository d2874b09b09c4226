package iptables

import (
	"fmt"
	"testing"
	"time"
)

func TestTheTickRateFollowsFromTwoReadings(t *testing.T) {
	for _, hz := range hertz {
		for _, elapsed := range []time.Duration{clockGap, clockGap + 3*time.Millisecond, 150 * time.Millisecond, 2 * time.Second} {
			exact := float64(hz) * elapsed.Seconds()
			// A reading falls anywhere between two ticks, so the difference may be
			// one off either way.
			for _, ticks := range []uint64{uint64(exact) - 1, uint64(exact), uint64(exact) + 1} {
				t.Run(fmt.Sprintf("%d ticks in %v at %d", ticks, elapsed, hz), func(t *testing.T) {
					if got := rate(ticks, elapsed); got != hz {
						t.Errorf("read as %d", got)
					}
				})
			}
		}
	}
}

func TestTheTickRateOfAClockThatStandsStillIsTheSlowest(t *testing.T) {
	if got := rate(0, clockGap); got != 100 {
		t.Errorf("got %d", got)
	}
}

func TestAnAgeIsTicksOverTheTickRate(t *testing.T) {
	for _, hz := range hertz {
		c := clock{Now: 4295012345, HZ: hz}
		if got := c.Age(c.Now - uint64(7*hz)); got != 7*time.Second {
			t.Errorf("7 s of %d ticks are %v", hz, got)
		}
		if got, want := c.Age(c.Now-1), time.Second/time.Duration(hz); got.Round(time.Microsecond) != want.Round(time.Microsecond) {
			t.Errorf("one tick of %d is %v", hz, got)
		}
	}
}

func TestAnAgeOverTheEndOf32Bits(t *testing.T) {
	for _, c := range []struct {
		name     string
		now, was uint64
		want     time.Duration
	}{
		{"not around", 1000, 900, time.Second},
		{"around once", 50, 1<<32 - 150, 2 * time.Second}, // 150 ticks up to the end, 50 since
		{"the last tick before the end", 0, 1<<32 - 1, 10 * time.Millisecond},
		{"64 bits wide", 1<<32 + 100, 1 << 32, time.Second},
		{"made since the clock was read", 1000, 1003, 0},
		{"this very tick", 1000, 1000, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := (clock{Now: c.now, HZ: 100}).Age(c.was); got != c.want {
				t.Errorf("%v, not %v", got, c.want)
			}
		})
	}
}
