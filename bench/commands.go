//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"

	"knockkit/bench/stat"
	"knockkit/internal/lab"
)

// The commands, as the page names them.
const (
	cmdInstall  = "install, the first"
	cmdAgain    = "install, again"
	cmdAdd      = "install of one more"
	cmdGrant    = "grant"
	cmdGrantFor = "grant --for"
	cmdRevoke   = "revoke"
	cmdStatus   = "status"
	cmdRemove   = "remove --all"
)

// byProfiles and byPositions list the commands that are measured by the number of profiles,
// and by that of positions.
func byProfiles() []string {
	return []string{cmdInstall, cmdAdd, cmdGrant, cmdGrantFor, cmdRevoke, cmdStatus, cmdRemove}
}
func byPositions() []string { return []string{cmdGrant, cmdRevoke, cmdAgain, cmdStatus} }

// commandProfiles and commandPositions are the numbers that are compared.
func commandProfiles() []int  { return []int{1, 100, 500, 1000} }
func commandPositions() []int { return []int{0, 60_000, 524_288} }

// onNFTables stands for nftables among the implementations of iptables.
var onNFTables = lab.Flavour{Name: "nftables"}

// variants are iptables-nft and iptables-legacy, where they are installed, and nftables.
func variants() []lab.Flavour { return append(lab.Flavours(), onNFTables) }

// commandCost says what each command takes, of the whole program from its start to its
// end, in one state of the kernel.
type commandCost struct {
	variant   lab.Flavour
	profiles  int
	positions int // sources that are in a position
	runs      map[string][]commandRun
}

// commandCosts lists what is measured: all by the number of profiles, and nftables by that
// of positions, where a flood fills a map of any size.
func commandCosts() (all []*commandCost) {
	for _, v := range variants() {
		for _, n := range commandProfiles() {
			all = append(all, &commandCost{v, n, 0, map[string][]commandRun{}})
		}
	}
	for _, n := range commandPositions()[1:] {
		all = append(all, &commandCost{onNFTables, 1, n, map[string][]commandRun{}})
	}
	return all
}

// commands measures the program, on a new host for each.
func (b *bench) commands() (all []*commandCost, err error) {
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := b.build(dir, "knockd"); err != nil {
		return nil, err
	}
	all = commandCosts()
	return all, b.turns(b.rounds(3, 1), len(all), func(_, i int) (err error) {
		p := &program{knockd: dir + "/knockd"}
		if p.dir, err = os.MkdirTemp(dir, ""); err != nil {
			return err
		}
		if p.Host, err = lab.New(all[i].variant.Name); err != nil {
			return err
		}
		if err := errors.Join(b.runCommands(p, all[i]), p.Close()); err != nil {
			return fmt.Errorf("%s, %d profiles, %d positions: %w", p, all[i].profiles, all[i].positions, err)
		}
		return nil
	})
}

// build builds one of our programs into a folder.
func (b *bench) build(dir, program string) error {
	out, err := exec.CommandContext(b, "go", "build", "-trimpath", "-buildvcs=false", "-o", dir+"/"+program, "knockkit/cmd/"+program).CombinedOutput()
	if err != nil {
		return fmt.Errorf("build %s: %w\n%s", program, err, out)
	}
	return nil
}

// runCommands runs each command.
func (b *bench) runCommands(p *program, c *commandCost) error {
	err := errors.Join(p.configure(c.variant), p.profiles(c.profiles))
	do := func(name string, args ...string) {
		if err != nil {
			return
		}
		var took commandRun
		took, err = p.run(b, args...)
		c.runs[name] = append(c.runs[name], took)
	}
	do(cmdInstall, "install")
	if err == nil && c.positions > 0 {
		err = p.fill(b, c.positions)
	}
	for range b.rounds(3, 1) {
		do(cmdGrant, "grant", "p0000", "192.0.2.1")
		do(cmdRevoke, "revoke", "p0000", "192.0.2.1")
		do(cmdStatus, "status")
	}
	do(cmdAgain, "install")
	if c.positions > 0 {
		return err
	}
	for range b.rounds(3, 1) {
		do(cmdGrantFor, "grant", "p0000", "192.0.2.2", "--for", "30m")
	}
	err = errors.Join(err, p.profiles(c.profiles+1))
	do(cmdAdd, "install", fmt.Sprintf("p%04d", c.profiles))
	do(cmdRemove, "remove", "--all")
	return err
}

// CommandTable shows the time of each command, by number of profiles.
func (p *page) CommandTable() string {
	var rows [][]string
	for _, v := range variants() {
		for _, what := range byProfiles() {
			cells := []string{v.Name + ": `" + what + "`"}
			for _, n := range commandProfiles() {
				took := p.command(v.Name, n, 0, what)
				cells = append(cells, orNone(took.seconds > 0, exactly(took.seconds)))
			}
			rows = append(rows, cells)
		}
	}
	return markdown(byNumber("", commandProfiles()), rows)
}

// CommandPositionTable shows time and memory of each command, by number of positions.
func (p *page) CommandPositionTable() string {
	var rows [][]string
	for _, what := range byPositions() {
		cells := []string{"`" + what + "`"}
		for _, n := range commandPositions() {
			took := p.command(onNFTables.Name, 1, n, what)
			cells = append(cells, orNone(took.seconds > 0, exactly(took.seconds)+", "+short(megabytes(took.peak))+" MB"))
		}
		rows = append(rows, cells)
	}
	return markdown(byNumber("sources in a position", commandPositions()), rows)
}

// command returns the median time and the highest peak of a command; 0: not measured.
func (p *page) command(variant string, profiles, positions int, what string) commandRun {
	var seconds []float64
	peak := 0
	for _, c := range p.Commands {
		if c.variant.Name == variant && c.profiles == profiles && c.positions == positions {
			for _, r := range c.runs[what] {
				seconds, peak = append(seconds, r.seconds), max(peak, r.peak)
			}
		}
	}
	return commandRun{stat.Of(seconds...).Median, peak}
}

// commandRatios are those of the commands.
func (p *page) commandRatios() []ratio {
	var all []ratio
	atMost := func(limit float64, unit string, value float64, format string, args ...any) {
		all = append(all, ratio{fmt.Sprintf(format, args...), value, unit, limit, true})
	}
	// times is how often a goes into b, when b is allowed so many seconds more.
	times := func(a, b, more float64) float64 { return max(b-more, 0) / a }
	for _, v := range variants() {
		of := func(n int, what string) float64 { return p.command(v.Name, n, 0, what).seconds }
		for _, what := range []string{cmdGrant, cmdRevoke} {
			atMost(4, "", times(of(1, what), of(500, what), 0.15), "%s: %s with 500 profiles, less 150 ms, to 1", v.Name, what)
		}
		atMost(10, "", times(of(1, cmdStatus), of(500, cmdStatus), 0.5), "%s: status with 500 profiles, less 500 ms, to 1", v.Name)
		atMost(5, " s", of(1000, cmdInstall), "%s: install of 1,000 profiles", v.Name)
		atMost(15, "", of(1000, cmdInstall)/of(100, cmdInstall), "%s: install of 1,000 profiles to 100", v.Name)
		atMost(1, "", of(1000, cmdAdd)/of(1000, cmdInstall), "%s: one profile added to 1,000, to their install", v.Name)
	}
	for _, n := range commandPositions()[1:] {
		for _, what := range byPositions() {
			took := p.command(onNFTables.Name, 1, n, what)
			if what != cmdStatus { // it lists them
				atMost(3, "", times(p.command(onNFTables.Name, 1, 0, what).seconds, took.seconds, 0.15), "nftables: %s with %s positions, less 150 ms, to none", what, thousands(n))
			}
			atMost(64, " MB", megabytes(took.peak), "nftables: %s with %s positions: memory", what, thousands(n))
		}
	}
	return all
}

// exactly writes seconds, or milliseconds where there are few.
func exactly(seconds float64) string {
	if seconds < 1 {
		return milliseconds(seconds * 1000)
	}
	return short(seconds) + " s"
}

func megabytes(bytes int) float64 { return float64(bytes) / (1 << 20) }
