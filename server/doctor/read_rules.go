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

	"knockkit/internal/kernel/backend"
	"knockkit/internal/kernel/iptables"
	"knockkit/internal/kernel/nftables"
	"knockkit/protocol"
)

// readRules reads the rules of every tool, except those of iptables that were saved already, and
// finds where ours are among them.
func (f *facts) readRules(ctx context.Context, saved []backend.Saved) {
	tables, err := nftables.Tables(ctx)
	f.missRules("the rules of nftables", err)
	if len(saved) == 0 {
		saved, err = iptables.Saved(ctx, protocol.Both)
		f.missRules("the rules of iptables", err)
	}
	for _, s := range saved {
		chains, err := savedChains(s)
		f.missRules(fmt.Sprintf("the %s rules of %s", s.Family, s.Tool), err)
		f.Host.add(chains...)
		if hasRules(s.Tables) && !slices.Contains(f.Flavours, s.Tool) {
			f.Flavours = append(f.Flavours, s.Tool)
		}
		for _, t := range s.Tables {
			if s.Tool == "iptables-nft" {
				tables = without(tables, nftFamilies[s.Family]+" "+t.Name)
			}
		}
	}
	if len(saved) > 0 {
		f.active = saved[0].Tool
	}
	f.Us = site{f.active, "filter", hookPoint{input, 0}}
	if f.Status.Backend == "nftables" {
		f.Us = site{nftTool, "", hookPoint{input, -10}}
	}
	chains, err := nftChains(ctx, f.withoutOurs(tables))
	f.Host.add(chains...)
	f.missRules("the rules of nftables", err)
}

// withoutOurs leaves out tables that may be large and have no rules of others: our table of
// nftables, and the tables of iptables-nft that an install has made since iptables was read.
func (f *facts) withoutOurs(tables []string) []string {
	tables = without(tables, "inet "+nftables.TableName)
	if f.Us.tool != "iptables-nft" || !f.anyInstalled() {
		return tables
	}
	for _, p := range f.profiles() {
		for _, family := range protocol.Families() {
			if !p.In(family) {
				continue
			}
			tables = without(tables, nftFamilies[family]+" "+f.Us.table)
			if p.Place == protocol.PlacePrerouting {
				tables = without(tables, nftFamilies[family]+" "+f.Us.early().table)
			}
		}
	}
	return tables
}

// nftFamilies are the families of iptables and ip6tables, as nft calls them.
var nftFamilies = map[protocol.Family]string{protocol.IPv4: "ip", protocol.IPv6: "ip6"}

// missRules adds rules that could not be read: they may do anything.
func (f *facts) missRules(what string, err error) {
	f.miss(what, err)
	f.blind = f.blind || err != nil
}

func without(tables []string, table string) []string {
	return slices.DeleteFunc(tables, func(t string) bool { return t == table })
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

// nftChains reads tables of nft, and the interfaces that their chains are for.
func nftChains(ctx context.Context, tables []string) ([]*chain, error) {
	tables = slices.DeleteFunc(slices.Clone(tables), func(table string) bool {
		family, _, _ := strings.Cut(table, " ")
		_, known := nftFamily(family)
		return !known
	})
	all, tables := listTogether(ctx, tables)
	for _, table := range tables {
		family, name, _ := strings.Cut(table, " ")
		text, err := output(ctx, "", nftTool, "-j", "list", "table", family, name)
		if err != nil {
			return all, err
		}
		_, chains, err := parseNFT(text)
		if err != nil {
			return all, err
		}
		all = append(all, chains...)
	}
	if !slices.ContainsFunc(all, (*chain).ofDevice) {
		return all, nil
	}
	devices, err := nftables.Devices(ctx)
	for _, c := range all {
		if c.ofDevice() {
			c.calledFor(devices[c.table+" "+c.name])
		}
	}
	return all, err
}

// listTogether reads several tables with one process, and returns those that it did not get. Given
// several tables in one text, nft reads only the last from the kernel (1.0.6; 1.1 by its code), so
// they are asked for line by line, as a person would type them.
func listTogether(ctx context.Context, tables []string) (all []*chain, left []string) {
	if len(tables) < 2 {
		return nil, tables
	}
	text, err := output(ctx, "list table "+strings.Join(tables, "\nlist table ")+"\n", nftTool, "-j", "-i")
	if err != nil {
		return nil, tables // it was built without that mode
	}
	for line := range strings.Lines(text) {
		at := strings.Index(line, `{"nftables"`) // behind a prompt, perhaps
		if at < 0 {
			continue
		}
		table, chains, err := parseNFT(line[at:])
		if err == nil && slices.Contains(tables, table) {
			all, tables = append(all, chains...), without(tables, table)
		}
	}
	return all, tables
}
