//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"knockkit/bench/stage"
	"knockkit/internal/lab"
)

// program is knockd itself on a host of its own, with a configuration of its own.
type program struct {
	*lab.Host
	knockd string
	dir    string // configuration, and links to tools
}

// configure says which backend and tools are used.
func (p *program) configure(v lab.Flavour) error {
	backend := "nftables"
	err := errors.Join(os.Mkdir(p.dir+"/profiles", 0o700), os.Mkdir(p.dir+"/tools", 0o700))
	if v != onNFTables {
		backend, err = "iptables", errors.Join(err, v.LinkInto(p.dir+"/tools"))
	}
	return errors.Join(err, os.WriteFile(p.dir+"/knockd.toml", fmt.Appendf(nil, "backend = %q\n", backend), 0o600))
}

// profiles writes the files of so many profiles.
func (p *program) profiles(n int) error {
	all, err := stage.Profiles(n, 10*time.Second)
	for _, of := range all {
		text := fmt.Appendf(nil, "sequence = [\"%s\", \"%s\", \"%s\"]\nwithin = \"10s\"\nopen = [\"%s\"]\n",
			of.Sequence[0].Knock, of.Sequence[1].Knock, of.Sequence[2].Knock, of.Open[0])
		err = errors.Join(err, os.WriteFile(filepath.Join(p.dir, "profiles", of.Name+".toml"), text, 0o600))
	}
	return err
}

// commandRun is what a command took.
type commandRun struct {
	seconds float64
	peak    int // bytes of memory at most, of it or a tool that it started
}

// run runs a command to its end. That it fails is an error.
func (p *program) run(ctx context.Context, args ...string) (commandRun, error) {
	words := []string{"PATH=" + p.dir + "/tools:" + os.Getenv("PATH"), "time", "--format=%M", p.knockd, "--config", p.dir}
	start := time.Now()
	out, err := p.Run(ctx, "", "env", append(words, args...)...)
	took := time.Since(start)
	said := strings.Fields(out.Stderr)
	if err == nil && (out.Code != 0 || len(said) == 0) {
		err = fmt.Errorf("knockd %s: %s", strings.Join(args, " "), strings.TrimSpace(out.Stderr))
	}
	if err != nil {
		return commandRun{}, err
	}
	kb, err := strconv.Atoi(said[len(said)-1]) // time writes behind what knockd does
	return commandRun{took.Seconds(), kb << 10}, err
}

// fill puts so many sources into the first position of the first profile, for an hour, as
// if they had knocked. It is for nftables.
func (p *program) fill(ctx context.Context, n int) error {
	out, err := p.Run(ctx, "", "nft", "--terse", "list", "table", "inet", "knockd")
	if err != nil {
		return err
	}
	number := regexp.MustCompile(`"now at (\S+) p0000 1/`).FindStringSubmatch(out.Stdout)
	if number == nil {
		return errors.New("no rule leads to the first position")
	}
	addr, elements := netip.MustParseAddr("10.100.0.0"), make([]string, n)
	for i := range elements {
		elements[i] = fmt.Sprintf("%s timeout 1h : %s", addr, number[1])
		addr = addr.Next()
	}
	const atOnce = 5_000 // of one command: nft takes longest for a long list, or for many short ones
	var text strings.Builder
	for part := range slices.Chunk(elements, atOnce) {
		fmt.Fprintf(&text, "add element inet knockd position4 { %s }\n", strings.Join(part, ", "))
	}
	return stage.Run(ctx, p.Host, text.String(), "nft", "-f", "-")
}
