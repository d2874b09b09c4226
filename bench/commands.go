//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"

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
	out, err := exec.CommandContext(b, "go", "build", "-trimpath", "-buildvcs=false", "-o", dir+"/knockd", "knockkit/cmd/knockd").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("build knockd: %w\n%s", err, out)
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
