//go:build linux

package main

import (
	"fmt"
	"time"

	"knockkit/bench/stage"
	"knockkit/bench/stat"
	"knockkit/protocol"
)

// openingTime is how long an opener takes to open, and what its daemon costs.
type openingTime struct {
	Name     string
	Missing  bool
	MS       stat.Sample // milliseconds from the last knock to the answer of the opened port
	Failed   int         // visits to which it did not open
	NoDaemon bool

	// Seconds of processor time of the daemon for a million packets: to a port that
	// it ignores, and of the kind that it has to process.
	Elsewhere, Strangers float64
}

// opening measures each opener in turn.
func (b *bench) opening() ([]*openingTime, error) {
	profiles, err := stage.Profiles(1, 10*time.Second)
	if err != nil {
		return nil, err
	}
	var times []*openingTime
	var running []*running
	for _, d := range openers() {
		t := &openingTime{Name: d.name, Missing: d.missing()}
		times = append(times, t)
		if t.Missing {
			continue
		}
		s, err := d.start(b, profiles[0])
		if err != nil {
			return nil, err
		}
		defer s.Close()
		s.result, running = t, append(running, s)
	}
	err = b.turns(b.rounds(30, 5), len(running), func(_, i int) error {
		s := running[i]
		d, ok, err := s.visitOnce(b)
		if ok {
			s.took = append(s.took, float64(d.Microseconds())/1000)
		} else if err == nil {
			s.result.Failed++
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, s := range running {
		s.result.MS = stat.Of(s.took...)
		if err := b.daemonCost(s, profiles, s.result); err != nil {
			return nil, err
		}
	}
	return times, nil
}

// daemonCost lets strangers' packets come, at a rate that a daemon keeps up with,
// and reads what processor time that cost the daemon. fwknopd looks at half of them
// at 5,000 a second, and at all of them at 1,000.
func (b *bench) daemonCost(s *running, profiles []*protocol.Profile, t *openingTime) error {
	if s.daemon == nil {
		t.NoDaemon = true
		return nil
	}
	const rate, distinct = 1_000, 20_000
	last := time.Duration(b.rounds(4, 1)) * time.Second
	cost := func(packets [][]byte) (float64, error) {
		before, err := s.daemon.CPU()
		if err != nil {
			return 0, err
		}
		sent, err := s.FloodFor(b, packets, rate, last)
		if err != nil {
			return 0, err
		}
		if sent == 0 {
			return 0, fmt.Errorf("%s: nothing was sent", s.name)
		}
		// It may sleep between two reads.
		if err := stage.Wait(b, 300*time.Millisecond); err != nil {
			return 0, err
		}
		after, err := s.daemon.CPU()
		return (after - before).Seconds() / float64(sent) * 1e6, err
	}
	to := s.Host.Addr4
	var err error
	if t.Elsewhere, err = cost(stage.Packets(stage.Elsewhere, profiles, to, distinct)); err != nil {
		return err
	}
	t.Strangers, err = cost(s.strangers(profiles[0], to))
	return err
}
