package service

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"knockkit/internal/kernel/backend"
	"knockkit/protocol"
	"knockkit/server/events"
)

func mysql() *protocol.Profile {
	return &protocol.Profile{Name: "mysql", Lease: time.Hour, PrefixIPv4: 24, PrefixIPv6: 128, Sequence: make([]protocol.Step, 3)}
}

func at(d time.Duration) events.Moment { return events.Moment{Up: d} }

func open(address string, left time.Duration) backend.Source {
	return backend.Source{Profile: "mysql", Address: netip.MustParsePrefix(address), State: backend.Open, Step: 3, Steps: 3, Left: left}
}

func TestAStepOfTheClockIsNoticedEachWayAndTimeThatPassesIsNot(t *testing.T) {
	wall := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, by := range []time.Duration{0, time.Hour, -time.Hour, time.Second} {
		var s stepper
		if s.step(events.Moment{Wall: wall}) != 0 {
			t.Error("the first look has nothing to compare with")
		}
		want := by
		if by.Abs() < stepAtLeast {
			want = 0 // the two clocks are never quite the same
		}
		const passed = 5 * time.Second
		if got := s.step(events.Moment{Wall: wall.Add(passed + by), Up: passed}); got != want {
			t.Errorf("a step by %s is seen as %s", by, got)
		}
	}
}

// TestLeasesThatEndAtATimeOfDayGetBackWhatAStepTook has two leases: one whose end
// the step has moved, one that the kernel counts in ticks.
func TestLeasesThatEndAtATimeOfDayGetBackWhatAStepTook(t *testing.T) {
	for _, c := range []struct {
		name string
		by   time.Duration
		held []backend.Source
		want []backend.Source
	}{
		{"an hour on: one is gone", time.Hour, []backend.Source{open("10.9.2.0/24", 30*time.Minute)}, []backend.Source{open("10.9.1.0/24", 30*time.Minute)}},
		{"ten minutes on: one is shorter", 10 * time.Minute,
			[]backend.Source{open("10.9.1.0/24", 20*time.Minute), open("10.9.2.0/24", 30*time.Minute)}, []backend.Source{open("10.9.1.0/24", 30*time.Minute)}},
		{"an hour back: one is longer", -time.Hour,
			[]backend.Source{open("10.9.1.0/24", 90*time.Minute), open("10.9.2.0/24", 30*time.Minute)}, []backend.Source{open("10.9.1.0/24", 30*time.Minute)}},
		{"a renewed lease is let be", -time.Hour,
			[]backend.Source{open("10.9.1.0/24", time.Hour), open("10.9.2.0/24", 30*time.Minute)}, nil},
		{"a revoked one is let be", 10 * time.Minute, []backend.Source{open("10.9.2.0/24", 30*time.Minute)}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := moved([]backend.Source{open("10.9.1.0/24", 30*time.Minute), open("10.9.2.0/24", 30*time.Minute)}, c.by, c.held)
			if diff := cmp.Diff(c.want, got, cmpopts.EquateComparable(netip.Prefix{}), cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
		})
	}
}
