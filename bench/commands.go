//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"knockkit/bench/stage"
	"knockkit/bench/stat"
)

// command is one of those whose time is taken.
type command string

// The commands, as the page names them.
const (
	cmdInstall  command = "install, the first"
	cmdAgain    command = "install, again"
	cmdAdd      command = "install of one more"
	cmdGrant    command = "grant"
	cmdGrantFor command = "grant --for"
	cmdRevoke   command = "revoke"
	cmdStatus   command = "status"
	cmdRemove   command = "remove --all"
)

// commandCost says what each command takes, of the whole program from its start to its
// end, in one state of the kernel.
type commandCost struct {
	stage.Variant
	Profiles  int
	Positions int // sources that are in a position
	Seconds   map[command]stat.Sample
	Peak      map[command]int // bytes
	seconds   map[command][]float64
}

// commandProfiles and commandPositions are the numbers that are compared.
func commandProfiles() []int  { return []int{1, 100, 500, 1000} }
func commandPositions() []int { return []int{0, 60_000, 524_288} }

// byProfiles lists the commands that are measured by number of profiles, in their order.
func byProfiles() []command {
	return []command{cmdInstall, cmdAdd, cmdGrant, cmdGrantFor, cmdRevoke, cmdStatus, cmdRemove}
}

// byPositions lists those that are measured by number of positions.
func byPositions() []command { return []command{cmdGrant, cmdRevoke, cmdAgain, cmdStatus} }

// commands measures the program by the number of profiles on all backends, and by that of
// positions on nftables, where a flood fills a map of any size.
func (b *bench) commands() (all []*commandCost, err error) {
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	knockd, err := stage.Build(b, dir)
	if err != nil {
		return nil, err
	}
	cost := func(v stage.Variant, profiles, positions int) {
		all = append(all, &commandCost{v, profiles, positions, map[command]stat.Sample{}, map[command]int{}, map[command][]float64{}})
	}
	variants := stage.Variants()
	for _, v := range variants {
		for _, n := range commandProfiles() {
			cost(v, n, 0)
		}
	}
	for _, n := range commandPositions()[1:] {
		cost(variants[len(variants)-1], 1, n)
	}
	err = b.turns(b.rounds(3, 1), len(all), func(_, i int) error {
		if err := b.runCommands(knockd, all[i]); err != nil {
			return fmt.Errorf("%s, %d profiles, %d positions: %w", all[i].Name, all[i].Profiles, all[i].Positions, err)
		}
		return nil
	})
	for _, c := range all {
		for name, seconds := range c.seconds {
			c.Seconds[name] = stat.Of(seconds...)
		}
	}
	return all, err
}

// runCommands runs each command on a host of its own.
func (b *bench) runCommands(knockd string, c *commandCost) (err error) {
	p, err := stage.NewProgram(knockd, c.Variant)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	const within = 10 * time.Second
	if err := p.Profiles(0, c.Profiles, within); err != nil {
		return err
	}
	do := func(name command, args ...string) {
		if err != nil {
			return
		}
		var cost stage.Cost
		if cost, err = p.Run(b, args...); err == nil {
			c.seconds[name] = append(c.seconds[name], cost.Time.Seconds())
			c.Peak[name] = max(c.Peak[name], cost.Peak)
		}
	}
	do(cmdInstall, "install")
	if err == nil && c.Positions > 0 {
		err = p.FillPositions(b, c.Positions)
	}
	for range b.rounds(3, 1) {
		do(cmdGrant, "grant", "p0000", "192.0.2.1")
		do(cmdRevoke, "revoke", "p0000", "192.0.2.1")
		do(cmdStatus, "status")
	}
	do(cmdAgain, "install")
	if c.Positions > 0 {
		return err
	}
	for range b.rounds(3, 1) {
		do(cmdGrantFor, "grant", "p0000", "192.0.2.2", "--for", "30m")
	}
	if err == nil {
		err = p.Profiles(c.Profiles, c.Profiles+1, within)
	}
	do(cmdAdd, "install", fmt.Sprintf("p%04d", c.Profiles))
	do(cmdRemove, "remove", "--all")
	return err
}

// commandOf returns the seconds and the peak of a command; ok is false where it was not
// measured.
func commandOf(costs []*commandCost, name string, profiles, positions int, what command) (seconds float64, peak int, ok bool) {
	for _, c := range costs {
		if c.Name == name && c.Profiles == profiles && c.Positions == positions && c.Seconds[what].Count > 0 {
			return c.Seconds[what].Median, c.Peak[what], true
		}
	}
	return 0, 0, false
}
