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
	"knockkit/server/iptables/save"
	"knockkit/server/nftables"
)

// lookAtRules reads the rules of every tool but those that were saved already, and finds
// our place among them.
func (f *Facts) lookAtRules(ctx context.Context, saved []backend.Saved) {
	tables, err := nftTables(ctx)
	f.missRules("the rules of nftables", err)
	f.active = activeTool(ctx, saved)
	for _, tool := range []string{"iptables-nft", "iptables-legacy"} {
		seen := false
		for _, family := range protocol.Families() {
			s, err := f.savedBy(ctx, tool, family, tables, saved)
			var chains []*chain
			if err == nil {
				chains, err = savedChains(s)
			}
			f.missRules(fmt.Sprintf("the %s rules of %s", family, tool), err)
			f.Host.add(chains...)
			seen = seen || holdsRules(s.Tables)
			if tool == "iptables-nft" {
				for _, t := range s.Tables {
					tables = without(tables, nftFamilies[family]+" "+t.Name)
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

// activeTool returns what `iptables` is here: what the backend has read with, if it has.
func activeTool(ctx context.Context, saved []backend.Saved) string {
	if len(saved) > 0 {
		return saved[0].Tool
	}
	switch flavour, err := iptables.Flavour(ctx); {
	case err != nil:
		return ""
	case flavour == "nf_tables":
		return "iptables-nft"
	}
	return "iptables-legacy"
}

// savedBy returns what a tool saves of a family: nothing where the kernel holds nothing of it.
func (f *Facts) savedBy(ctx context.Context, tool string, family protocol.Family, tables []string, saved []backend.Saved) (backend.Saved, error) {
	i := slices.IndexFunc(saved, func(s backend.Saved) bool { return s.Tool == tool && s.Family == family })
	if i >= 0 {
		return saved[i], nil
	}
	s := backend.Saved{Tool: tool, Family: family}
	there := slices.ContainsFunc(tables, iptablesTable(family))
	if tool == "iptables-legacy" {
		there = legacyTables(family)
	}
	if !there {
		return s, nil
	}
	text, err := runSave(ctx, tool, tool == f.active, family)
	if err == nil {
		s.Tables, err = save.Parse(text)
	}
	return s, err
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

// runSave returns what a flavour of iptables saves: "" where it is not installed.
func runSave(ctx context.Context, tool string, active bool, family protocol.Family) (string, error) {
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
