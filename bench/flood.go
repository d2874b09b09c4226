//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"knockkit/bench/stage"
	"knockkit/bench/stat"
)

// rates are the spoofed first knocks a second.
func rates() []int { return []int{0, 1_000, 10_000, 50_000} }

// floodResult says how the right client fares in a flood.
type floodResult struct {
	Name          string
	Missing       bool
	Rate          int         // asked for, a second
	Sent          float64     // came about, a second
	Visits, Opens int         // each visit knocks once
	MS            stat.Sample // milliseconds from the last knock to the answer, of those that opened
}

// flooded are the doors that are measured: fwknop's single packet has no position
// that a flood could take.
func flooded() []*opener { return openers()[:3] }

// floods measures each opener at each rate, on hosts of its own.
func (b *bench) floods() ([]*floodResult, error) {
	var results []*floodResult
	for _, rate := range rates() {
		for _, d := range flooded() {
			results = append(results, &floodResult{Name: d.name, Rate: rate, Missing: d.missing()})
		}
	}
	doors := flooded()
	err := b.turns(1, len(results), func(_, i int) error {
		if results[i].Missing {
			return nil
		}
		return b.flood(doors[i%len(doors)], results[i])
	})
	return results, err
}

// flood lets the flood run until it has filled what it can fill, and then lets
// visitors come beside it, each a while after the one before.
func (b *bench) flood(d *opener, r *floodResult) (err error) {
	const within = 10 * time.Second
	// The table of positions of nftables holds 65,535 sources for `within`: that is
	// full, if ever, by now.
	lead := time.Duration(b.rounds(8000, 1500)) * time.Millisecond
	visits, apart := b.rounds(40, 10), 100*time.Millisecond

	profiles, err := stage.Profiles(1, within)
	if err != nil {
		return err
	}
	s, err := d.start(b, profiles[0])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	s.visit.Every = 5 * time.Millisecond

	flooding, stop := context.WithCancel(b)
	defer stop()
	work, ctx := errgroup.WithContext(b)
	packets := stage.FirstKnocks(profiles[0], s.Host.Addr4)
	start := time.Now()
	work.Go(func() error {
		sent, err := s.Flood(flooding, packets, r.Rate)
		r.Sent = float64(sent) / time.Since(start).Seconds()
		return err
	})
	work.Go(func() error {
		defer stop()
		if r.Rate > 0 {
			if err := stage.Wait(ctx, lead); err != nil {
				return err
			}
		}
		return s.visitors(ctx, visits, apart, r)
	})
	if err := work.Wait(); err != nil {
		return fmt.Errorf("%s at %d a second: %w", d.name, r.Rate, err)
	}
	return nil
}

// visitors lets visits begin at even times, whether or not the ones before have
// come to their end.
func (s *running) visitors(ctx context.Context, visits int, apart time.Duration, r *floodResult) error {
	took := make([]float64, visits) // 0: did not open
	var visiting errgroup.Group
	for i := range visits {
		v, err := s.Visitor()
		if err != nil {
			return err
		}
		visiting.Go(func() error {
			d, ok, err := v.Visit(ctx, s.visit)
			if ok {
				took[i] = float64(d.Microseconds()) / 1000
			}
			return err
		})
		if err := stage.Wait(ctx, apart); err != nil {
			return err
		}
	}
	err := visiting.Wait()
	opened := slices.DeleteFunc(took, func(ms float64) bool { return ms == 0 })
	r.Visits, r.Opens, r.MS = visits, len(opened), stat.Of(opened...)
	return err
}
