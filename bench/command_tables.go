//go:build linux

package main

import (
	"fmt"

	"knockkit/bench/stat"
)

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
