//go:build linux

package main

import (
	"fmt"

	"knockkit/bench/stage"
)

// CommandTable shows the time of each command, by number of profiles.
func (p *page) CommandTable() string {
	header := []string{""}
	for _, n := range commandProfiles() {
		header = append(header, thousands(n))
	}
	var rows [][]string
	for _, v := range stage.Variants() {
		for _, what := range byProfiles() {
			cells := []string{v.Name + ": `" + string(what) + "`"}
			for _, n := range commandProfiles() {
				s, _, ok := commandOf(p.Commands, v.Name, n, 0, what)
				cells = append(cells, orNone(ok, exactly(s)))
			}
			rows = append(rows, cells)
		}
	}
	return markdown(header, rows)
}

// CommandPositionTable shows time and memory of each command, by number of positions.
func (p *page) CommandPositionTable() string {
	header := []string{"sources in a position"}
	for _, n := range commandPositions() {
		header = append(header, thousands(n))
	}
	var rows [][]string
	for _, what := range byPositions() {
		cells := []string{"`" + string(what) + "`"}
		for _, n := range commandPositions() {
			s, peak, ok := commandOf(p.Commands, "nftables", 1, n, what)
			cells = append(cells, orNone(ok, exactly(s)+", "+megabytes(peak)))
		}
		rows = append(rows, cells)
	}
	return markdown(header, rows)
}

// commandRatios are those of the commands.
func (p *page) commandRatios() []ratio {
	var all []ratio
	// times is how often a goes into b, when b is allowed so many seconds more.
	times := func(a, b, more float64) float64 { return max(b-more, 0) / a }
	for _, v := range stage.Variants() {
		of := func(n int, what command) float64 {
			s, _, _ := commandOf(p.Commands, v.Name, n, 0, what)
			return s
		}
		for _, what := range []command{cmdGrant, cmdRevoke} {
			all = append(all, ratio{fmt.Sprintf("%s: %s with 500 profiles, less 150 ms, to 1", v.Name, what), times(of(1, what), of(500, what), 0.15), "", 4, true})
		}
		all = append(all,
			ratio{v.Name + ": status with 500 profiles, less 500 ms, to 1", times(of(1, cmdStatus), of(500, cmdStatus), 0.5), "", 10, true},
			ratio{v.Name + ": install of 1,000 profiles to 100, the whole program", of(1000, cmdInstall) / of(100, cmdInstall), "", 15, true},
			ratio{v.Name + ": one profile added to 1,000, to their install", of(1000, cmdAdd) / of(1000, cmdInstall), "", 1, true})
	}
	for _, n := range commandPositions()[1:] {
		for _, what := range byPositions() {
			before, _, _ := commandOf(p.Commands, "nftables", 1, 0, what)
			s, peak, _ := commandOf(p.Commands, "nftables", 1, n, what)
			if what != cmdStatus { // it lists them
				all = append(all, ratio{fmt.Sprintf("nftables: %s with %s positions, less 150 ms, to none", what, thousands(n)), times(before, s, 0.15), "", 3, true})
			}
			all = append(all, ratio{fmt.Sprintf("nftables: %s with %s positions: memory", what, thousands(n)), float64(peak) / (1 << 20), " MB", 64, true})
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

func megabytes(bytes int) string { return fmt.Sprintf("%s MB", short(float64(bytes)/(1<<20))) }
