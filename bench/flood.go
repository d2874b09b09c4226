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

// ownRates are the packets a second that an opener of one packet has to read.
func ownRates() []int { return []int{1_000, 10_000, 50_000, stage.AtMost} }

// floodResult says how the right client fares in a flood.
type floodResult struct {
	Name          string
	Own           bool // of packets that the opener has to read, with what is no knock; else of first knocks
	Missing       bool
	Failed        error       // why another project's program could not be measured
	Rate          int         // asked for, a second
	Sent          float64     // came about, a second
	Visits, Opens int         // each visit knocks once
	MS            stat.Sample // milliseconds from the last knock to the answer, of those that opened

	// Of a signed profile, those of the visits before the flood too.
	Arrived, Taken int // tokens that reached the host, and those that the kernel has taken
}

// flooded are the openers that are measured in a flood of first knocks: fwknop's single packet has no
// position that the flood could take.
func flooded() []*opener { return openers()[:4] }

// ownFlooded are those that open for a single packet.
func ownFlooded() []*opener {
	all := openers()
	return []*opener{all[2], all[4]}
}

// floods measures each opener at each rate, on hosts of its own, and the program knock.
func (b *bench) floods() ([]*floodResult, *knockFlood, error) {
	var results []*floodResult
	var doors []*opener
	add := func(own bool, rates []int, openers []*opener) {
		for _, rate := range rates {
			for _, d := range openers {
				results = append(results, &floodResult{Name: d.name, Own: own, Rate: rate, Missing: d.missing()})
				doors = append(doors, d)
			}
		}
	}
	add(false, rates(), flooded())
	add(true, ownRates(), ownFlooded())
	err := b.turns(1, len(results), func(_, i int) error {
		if results[i].Missing {
			return nil
		}
		err := b.flood(doors[i], results[i])
		if err != nil && doors[i].program != "" && b.Err() == nil {
			b.Warning("%v", err)
			results[i].Failed, err = err, nil
		}
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	knocks, err := b.knocks()
	return results, knocks, err
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
	packets := stage.FirstKnocks
	if r.Own {
		packets = d.strangers
	}
	flood := packets(profiles[0], s.Host.Addr4)
	start := time.Now()
	work.Go(func() error {
		sent, err := s.Flood(flooding, flood, r.Rate)
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
		return fmt.Errorf("%s at %s a second: %w", d.name, rateText(r.Rate), err)
	}
	if s.signed != nil {
		r.Arrived, r.Taken, err = s.signed.tokens(b)
	}
	return err
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
