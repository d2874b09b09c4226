package lab

import (
	"math"
	"slices"
	"testing"
	"time"
)

// fates sends n packets, 1 ms apart, through conditions.
func fates(c Conditions, direction uint64, n int) (sent time.Time, arrivals [][]time.Time) {
	var way course
	way.set(c, direction)
	sent = time.Unix(1_000_000, 0)
	for i := range n {
		arrivals = append(arrivals, way.next(sent.Add(time.Duration(i)*time.Millisecond)))
	}
	return sent, arrivals
}

func TestSharesOfPacketsComeOutAsAsked(t *testing.T) {
	const n = 20_000
	tests := []struct {
		name       string
		conditions Conditions
		counts     func(copies []time.Time, sent time.Time) bool
		share      float64
	}{
		{"loss", Conditions{Loss: 0.2}, func(c []time.Time, _ time.Time) bool { return len(c) == 0 }, 0.2},
		{"no loss", Conditions{}, func(c []time.Time, _ time.Time) bool { return len(c) == 0 }, 0},
		{"all lost", Conditions{Loss: 1}, func(c []time.Time, _ time.Time) bool { return len(c) == 0 }, 1},
		{"duplicates", Conditions{Duplicate: 0.1}, func(c []time.Time, _ time.Time) bool { return len(c) == 2 }, 0.1},
		{"undelayed by reordering", Conditions{Delay: time.Second, Reorder: 0.3},
			func(c []time.Time, sent time.Time) bool { return c[0].Equal(sent) }, 0.3},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			sent, arrivals := fates(test.conditions, 0, n)
			hits := 0
			for i, copies := range arrivals {
				if test.counts(copies, sent.Add(time.Duration(i)*time.Millisecond)) {
					hits++
				}
			}
			// Five standard deviations of a share over n packets: 0 for certain ones.
			tolerance := 5 * math.Sqrt(test.share*(1-test.share)/n)
			if got := float64(hits) / n; math.Abs(got-test.share) > tolerance {
				t.Errorf("share is %.4f, want %.2f ± %.4f", got, test.share, tolerance)
			}
		})
	}
}

func TestTheSameSeedHitsTheSamePackets(t *testing.T) {
	c := Conditions{Delay: 20 * time.Millisecond, Jitter: 10 * time.Millisecond, Loss: 0.2, Duplicate: 0.2, Reorder: 0.2, Seed: 7}
	equal := func(a, b [][]time.Time) bool {
		return slices.EqualFunc(a, b, func(x, y []time.Time) bool { return slices.Equal(x, y) })
	}
	_, first := fates(c, 0, 500)
	_, second := fates(c, 0, 500)
	_, back := fates(c, 1, 500)
	c.Seed = 8
	_, other := fates(c, 0, 500)
	if !equal(first, second) {
		t.Error("one seed, two outcomes")
	}
	if equal(first, back) {
		t.Error("both directions have the same outcome")
	}
	if equal(first, other) {
		t.Error("two seeds, one outcome")
	}
}

func TestAPacketsFateDoesNotDependOnOtherConditions(t *testing.T) {
	// So a test that adds jitter keeps the losses that it was written against.
	_, plain := fates(Conditions{Loss: 0.3, Seed: 1}, 0, 500)
	_, shaken := fates(Conditions{Loss: 0.3, Delay: 50 * time.Millisecond, Jitter: 20 * time.Millisecond, Duplicate: 0.5, Seed: 1}, 0, 500)
	for i := range plain {
		if (len(plain[i]) == 0) != (len(shaken[i]) == 0) {
			t.Fatalf("packet %d: lost %v without jitter, %v with it", i, len(plain[i]) == 0, len(shaken[i]) == 0)
		}
	}
}

func TestJitterStaysInItsRangeAndKeepsTheOrder(t *testing.T) {
	const delay, jitter = 50 * time.Millisecond, 20 * time.Millisecond
	sent, arrivals := fates(Conditions{Delay: delay, Jitter: jitter}, 0, 2000)
	var last time.Time
	for i, copies := range arrivals {
		at := copies[0]
		// Keeping its place makes a packet at most as late as the one before it, which
		// was sent earlier and is itself late by delay+jitter at most.
		took := at.Sub(sent.Add(time.Duration(i) * time.Millisecond))
		if took < delay-jitter || took > delay+jitter {
			t.Fatalf("packet %d took %v", i, took)
		}
		if at.Before(last) {
			t.Fatalf("packet %d overtakes the one before it", i)
		}
		last = at
	}
}

func TestImpossibleConditionsAreRefused(t *testing.T) {
	tests := map[string]Conditions{
		"share above 1":   {Loss: 1.5},
		"negative share":  {Duplicate: -0.1},
		"no number":       {Reorder: math.NaN()},
		"negative delay":  {Delay: -1},
		"negative jitter": {Jitter: -1},
	}
	for name, c := range tests {
		t.Run(name, func(t *testing.T) {
			if c.check() == nil {
				t.Errorf("%+v is accepted", c)
			}
		})
	}
}
