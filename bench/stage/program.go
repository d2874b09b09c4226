//go:build linux

package stage

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"knockkit/internal/lab"
)

// Program is knockd itself on a host of its own, with a configuration of its own.
type Program struct {
	Host *lab.Host
	knockd,
	dir string // configuration, links to tools, and what time writes
	path string // PATH of what runs
}

// Variant is a backend with the tools that it uses.
type Variant struct {
	Name    string
	Backend string
	flavour lab.Flavour // of iptables; the zero one with nftables: as the host has it
}

// Variants lists iptables-nft and iptables-legacy, where they are installed, and nftables.
func Variants() []Variant {
	var all []Variant
	for _, f := range lab.Flavours() {
		all = append(all, Variant{f.Name, "iptables", f})
	}
	return append(all, Variant{Name: "nftables", Backend: "nftables"})
}

// Build builds knockd into a folder, and returns its path.
func Build(ctx context.Context, dir string) (string, error) {
	path := filepath.Join(dir, "knockd")
	out, err := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-o", path, "knockkit/cmd/knockd").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build knockd: %w\n%s", err, out)
	}
	return path, nil
}

// NewProgram makes a host without rules, and a configuration without profiles. The caller
// closes it.
func NewProgram(knockd string, v Variant) (*Program, error) {
	if _, err := lab.FindTool("time"); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "knockd-bench-")
	if err != nil {
		return nil, err
	}
	p := &Program{knockd: knockd, dir: dir, path: dir + "/tools:" + os.Getenv("PATH")}
	err = errors.Join(os.MkdirAll(dir+"/profiles", 0o700), os.Mkdir(dir+"/tools", 0o700),
		os.WriteFile(dir+"/knockd.toml", []byte("backend = \""+v.Backend+"\"\n"), 0o600))
	if err == nil && v.Backend == "iptables" {
		err = v.flavour.LinkInto(dir + "/tools")
	}
	if err == nil {
		p.Host, err = lab.New(v.Name)
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return p, nil
}

// Close ends the host, and removes the configuration.
func (p *Program) Close() error { return errors.Join(p.Host.Close(), os.RemoveAll(p.dir)) }

// Profiles writes the profiles from one number to before another of those of [Profiles].
func (p *Program) Profiles(from, to int, within time.Duration) error {
	for i, text := range texts(to, within) {
		if i < from {
			continue
		}
		if err := os.WriteFile(filepath.Join(p.dir, "profiles", profileName(i)+".toml"), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// Cost is what a command took.
type Cost struct {
	Time time.Duration
	Peak int // bytes of memory at most, of it or a tool that it started
}

// Run runs a command to its end. That it fails is an error.
func (p *Program) Run(ctx context.Context, args ...string) (Cost, error) {
	peak := filepath.Join(p.dir, "peak")
	words := append([]string{"PATH=" + p.path, "time", "--format=%M", "--output=" + peak, p.knockd, "--config", p.dir}, args...)
	start := time.Now()
	err := run(ctx, p.Host, "", "env", words...)
	took := time.Since(start)
	if err != nil {
		return Cost{}, err
	}
	text, err := os.ReadFile(peak)
	if err != nil {
		return Cost{}, err
	}
	kb, err := strconv.Atoi(strings.TrimSpace(string(text)))
	return Cost{took, kb << 10}, err
}

// FillPositions puts so many sources into the first position of the first profile, for an
// hour, as if they had knocked. It is for nftables.
func (p *Program) FillPositions(ctx context.Context, n int) error {
	out, err := p.Host.Run(ctx, "", "nft", "--terse", "list", "table", "inet", "knockd")
	if err != nil {
		return err
	}
	number := regexp.MustCompile(`"now at (\S+) ` + profileName(0) + ` 1/`).FindStringSubmatch(out.Stdout)
	if number == nil {
		return errors.New("no rule leads to the first position")
	}
	const atOnce = 5_000 // elements of one command: nft takes longest for a long list, or for many short ones
	var text strings.Builder
	addr := netip.MustParseAddr("10.100.0.0")
	for i := range n {
		switch {
		case i%atOnce == 0 && i > 0:
			text.WriteString(" }\nadd element inet knockd position4 { ")
		case i == 0:
			text.WriteString("add element inet knockd position4 { ")
		default:
			text.WriteString(", ")
		}
		fmt.Fprintf(&text, "%s timeout 1h : %s", addr, number[1])
		addr = addr.Next()
	}
	text.WriteString(" }\n")
	return run(ctx, p.Host, text.String(), "nft", "-f", "-")
}
