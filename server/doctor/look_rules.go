package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"

	"knockkit/protocol"
	"knockkit/server/backend"
	"knockkit/server/iptables"
	"knockkit/server/nftables"
)

// lookAtRules reads the rules of every tool, and finds our place among them.
func (f *Facts) lookAtRules(ctx context.Context) {
	tables, err := nftTables(ctx)
	f.missRules("the rules of nftables", err)
	if flavour, err := iptables.Flavour(ctx); err == nil {
		f.active = toolName(flavour)
	}
	for _, tool := range []string{"iptables-nft", "iptables-legacy"} {
		seen := false
		for _, family := range protocol.Families() {
			if tool == "iptables-legacy" && !legacyTables(family) || tool == "iptables-nft" && !slices.ContainsFunc(tables, iptablesTable(family)) {
				continue
			}
			text, err := save(ctx, tool, tool == f.active, family)
			var chains []*chain
			if err == nil {
				chains, err = parseSave(tool, family, text)
			}
			f.missRules(fmt.Sprintf("the %s rules of %s", family, tool), err)
			f.Host.add(chains...)
			seen = seen || holdsRules(text)
			for line := range strings.Lines(text) {
				if table, ok := strings.CutPrefix(strings.TrimSpace(line), "*"); ok && tool == "iptables-nft" {
					tables = without(tables, nftFamilies[family]+" "+table)
				}
			}
		}
		if seen {
			f.Flavours = append(f.Flavours, tool)
		}
	}
	f.Us = site{f.active, "filter", place{input, 0}}
	if f.Status.Backend == "nftables" {
		f.Us = site{nftTool, "", place{input, -10}}
	}
	chains, err := nftChains(ctx, without(tables, "inet "+nftables.TableName)) // ours may be large
	f.Host.add(chains...)
	f.missRules("the rules of nftables", err)
}

// missRules notes that rules could not be looked at: what nothing does, they may do.
func (f *Facts) missRules(what string, err error) {
	f.miss(what, err)
	f.blind = f.blind || err != nil
}

func without(tables []string, table string) []string {
	return slices.DeleteFunc(tables, func(t string) bool { return t == table })
}

// nftFamilies are the families of iptables and ip6tables, as nft calls them.
var nftFamilies = map[protocol.Family]string{protocol.IPv4: "ip", protocol.IPv6: "ip6"}

// iptablesTable reports whether a table of nft may be one of iptables-nft.
func iptablesTable(family protocol.Family) func(table string) bool {
	return func(table string) bool {
		of, name, _ := strings.Cut(table, " ")
		return of == nftFamilies[family] && slices.Contains([]string{"raw", "mangle", "nat", "filter", "security"}, name)
	}
}

// legacyTables reports whether the kernel has tables of iptables-legacy. To ask that tool
// for any would load them.
func legacyTables(family protocol.Family) bool {
	names := map[protocol.Family]string{protocol.IPv4: "ip_tables_names", protocol.IPv6: "ip6_tables_names"}[family]
	tables, err := os.ReadFile("/proc/thread-self/net/" + names)
	return !errors.Is(err, os.ErrNotExist) && (err != nil || len(tables) > 0)
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

// save returns what a flavour of iptables saves: "" where it is not installed.
func save(ctx context.Context, tool string, active bool, family protocol.Family) (string, error) {
	command := strings.TrimPrefix(tool, "iptables")
	name := map[protocol.Family]string{protocol.IPv4: "iptables", protocol.IPv6: "ip6tables"}[family]
	if _, err := exec.LookPath(name + command + "-save"); err != nil {
		if !active {
			return "", nil
		}
		command = ""
	}
	return output(ctx, "", name+command+"-save")
}

// output runs a tool that only reads.
func output(ctx context.Context, stdin, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	cmd.Env = append(os.Environ(), "HOME=/dev/null", "TERM=dumb") // nft -i keeps a history, and may draw
	err := cmd.Run()
	switch {
	case err == nil:
		return stdout.String(), nil
	case ctx.Err() != nil:
		return "", ctx.Err()
	case errors.Is(err, exec.ErrNotFound):
		return "", fmt.Errorf("%s is not installed", name)
	case os.Geteuid() != 0, strings.Contains(stderr.String(), "Operation not permitted"):
		return "", backend.ErrPrivilege
	}
	return "", fmt.Errorf("%s: %s: %w", name, strings.Join(strings.Fields(stderr.String()), " "), err)
}
