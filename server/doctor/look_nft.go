package doctor

import (
	"context"
	"slices"
	"strings"

	"knockkit/server/nftables"
)

// nftChains reads tables of nft, and the interfaces that their chains are called for.
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

// listTogether reads several tables with one process, and returns those that this left
// out. Of the tables that one text names, nft reads only the last from the kernel (1.0.6;
// the code of 1.1 reads so, too), so they are asked for as if a person typed them.
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
