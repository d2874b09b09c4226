package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"knockkit/internal/rights"
	"knockkit/protocol"
	"knockkit/server"
	"knockkit/server/backend"
	"knockkit/server/iptables"
)

// Look finds out what there is on the host: the network namespace of the caller's
// thread. What cannot be looked at is in Unseen; an error says that ctx has ended.
func Look(ctx context.Context, in Input) (*Facts, error) {
	f := &Facts{Input: in}
	for _, name := range []string{"iptables", "nftables"} {
		if err := try(ctx, name); errors.Is(err, rights.ErrNoNetwork) {
			f.miss("whether backend "+name+" works", err)
		} else {
			f.Trials = append(f.Trials, Trial{name, err})
		}
	}
	f.lookAtOurs(ctx)
	f.lookAtRules(ctx)
	f.lookAtKernel(ctx)
	f.lookAtNetwork()
	f.lookAtSockets()
	return f, ctx.Err()
}

// miss notes that something could not be looked at.
func (f *Facts) miss(what string, err error) {
	if err != nil {
		f.Unseen = append(f.Unseen, Unseen{what, err})
	}
}

// whatInstalled is said where that could not be looked at.
const whatInstalled = "what is installed"

// lookAtOurs asks the backend that holds rules, or would hold them.
func (f *Facts) lookAtOurs(ctx context.Context) {
	b, _, err := server.OpenLive(ctx, f.Settings.Backend)
	if err == nil {
		f.Status, err = server.New(b, f.Settings).Status(ctx, f.Files, nil)
		f.Status.Backend = b.Name()
	}
	if err != nil {
		f.Status.Profiles = filesOnly(f.Files)
	}
	f.miss(whatInstalled, err)
	f.Status.AddBroken(f.Broken)
}

func filesOnly(files []*protocol.Profile) []server.ProfileStatus {
	var all []server.ProfileStatus
	for _, p := range files {
		if p.Enabled {
			all = append(all, server.ProfileStatus{Profile: p, State: server.StateNotInstalled, Enabled: true})
		}
	}
	return all
}

// lookAtRules reads the rules of every tool, and finds our place among them.
func (f *Facts) lookAtRules(ctx context.Context) {
	shown := map[string]bool{} // "ip filter": a table that iptables-nft-save has shown
	active := ""
	if flavour, err := iptables.Flavour(ctx); err == nil {
		active = toolName(flavour)
	}
	f.active = active
	for _, tool := range []string{"iptables-nft", "iptables-legacy"} {
		seen := false
		for _, family := range protocol.Families() {
			text, err := save(ctx, tool, tool == active, family)
			if err != nil {
				f.miss(fmt.Sprintf("the %s rules of %s", family, tool), err)
				continue
			}
			chains, err := parseSave(tool, family, text)
			f.miss(fmt.Sprintf("the %s rules of %s", family, tool), err)
			f.Host = append(f.Host, chains...)
			seen = seen || holdsRules(text)
			for line := range strings.Lines(text) {
				if table, ok := strings.CutPrefix(strings.TrimSpace(line), "*"); ok && tool == "iptables-nft" {
					shown[map[protocol.Family]string{protocol.IPv4: "ip ", protocol.IPv6: "ip6 "}[family]+table] = true
				}
			}
		}
		if seen {
			f.Flavours = append(f.Flavours, tool)
		}
	}
	f.Us = site{active, "filter", place{input, 0}}
	if f.Status.Backend == "nftables" {
		f.Us = site{nftTool, "", place{input, -10}}
	}
	if _, err := exec.LookPath("nft"); err != nil {
		return // the tool is no need of the iptables backend: the trial says what is
	}
	chains, err := nftChains(ctx, shown)
	f.Host = append(f.Host, chains...)
	f.miss("the rules of nftables", err)
}

// toolName turns what iptables calls its flavour into the name of the tool.
func toolName(flavour string) string {
	if flavour == "nf_tables" {
		return "iptables-nft"
	}
	return "iptables-legacy"
}

// holdsRules reports whether a saved text has any rule or a policy of its own.
func holdsRules(text string) bool {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "-A ") || strings.HasPrefix(line, ":") && strings.Contains(line, " DROP ") {
			return true
		}
	}
	return false
}

// save returns what a flavour of iptables saves: "" where it has nothing. Asking
// legacy for tables that the kernel has not loaded would load them.
func save(ctx context.Context, tool string, active bool, family protocol.Family) (string, error) {
	name, names := tool+"-save", "ip_tables_names"
	if family == protocol.IPv6 {
		name, names = strings.Replace(name, "ip", "ip6", 1), "ip6_tables_names"
	}
	if tool == "iptables-legacy" {
		if tables, err := os.ReadFile("/proc/thread-self/net/" + names); err == nil && len(tables) == 0 || errors.Is(err, os.ErrNotExist) {
			return "", nil
		}
	}
	if _, err := exec.LookPath(name); err != nil {
		if !active {
			return "", nil
		}
		name = map[protocol.Family]string{protocol.IPv4: "iptables-save", protocol.IPv6: "ip6tables-save"}[family]
	}
	return output(ctx, name)
}

// output runs a tool that only reads.
func output(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	switch {
	case err == nil:
		return stdout.String(), nil
	case os.Geteuid() != 0, strings.Contains(stderr.String(), "Operation not permitted"):
		return "", backend.ErrPrivilege
	}
	return "", fmt.Errorf("%s: %s: %w", name, strings.Join(strings.Fields(stderr.String()), " "), err)
}
