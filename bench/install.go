//go:build linux

package main

import (
	"errors"
	"fmt"
	"time"

	"knockkit/bench/stage"
	"knockkit/bench/stat"
	"knockkit/internal/lab"
	"knockkit/protocol"
)

// installTime says how long changes of what is installed take, in seconds.
type installTime struct {
	Name     string
	Profiles int
	Install  stat.Sample // that many profiles, on a host that has none
	AddOne   stat.Sample // one more beside them
}

// installing measures both backends with each number of profiles in turn.
func (b *bench) installing() ([]*installTime, error) {
	const most = 1000
	profiles, err := stage.Profiles(most+1, 10*time.Second)
	if err != nil {
		return nil, err
	}
	type wanted struct {
		backend string
		*installTime
		install, add []float64
	}
	var all []*wanted
	for _, n := range counts() {
		all = append(all,
			&wanted{backend: "iptables", installTime: &installTime{Name: stage.IPTables, Profiles: n}},
			&wanted{backend: "nftables", installTime: &installTime{Name: stage.NFTables, Profiles: n}})
	}
	err = b.turns(b.rounds(3, 1), len(all), func(_, i int) error {
		w := all[i]
		install, add, err := b.installOnce(w.backend, profiles[:w.Profiles], profiles[most])
		if err != nil {
			return fmt.Errorf("%s, %d profiles: %w", w.Name, w.Profiles, err)
		}
		w.install, w.add = append(w.install, install.Seconds()), append(w.add, add.Seconds())
		return nil
	})
	var times []*installTime
	for _, w := range all {
		w.Install, w.AddOne = stat.Of(w.install...), stat.Of(w.add...)
		times = append(times, w.installTime)
	}
	return times, err
}

func (b *bench) installOnce(backend string, profiles []*protocol.Profile, more *protocol.Profile) (install, add time.Duration, err error) {
	h, err := lab.New(backend)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	s := stage.Ours(backend)
	start := time.Now()
	if err := stage.Install(b, h, s, profiles); err != nil {
		return 0, 0, err
	}
	install = time.Since(start)
	start = time.Now()
	err = stage.Install(b, h, s, []*protocol.Profile{more})
	return install, time.Since(start), err
}

// installOf returns the seconds that an install takes; ok is false where it was not
// measured.
func installOf(times []*installTime, name string, profiles int) (seconds float64, ok bool) {
	for _, t := range times {
		if t.Name == name && t.Profiles == profiles {
			return t.Install.Median, true
		}
	}
	return 0, false
}
