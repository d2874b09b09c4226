package iptables

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"knockkit/protocol"
	"knockkit/server/backend"
	"knockkit/server/nftables"
)

// The flavours of iptables: which of the kernel's packet filters the rules are in.
const (
	flavourNFT    = "iptables-nft"
	flavourLegacy = "iptables-legacy"
)

// Flavour returns which iptables the host's commands of a family are: "iptables-nft" or
// "iptables-legacy".
func Flavour(ctx context.Context, f protocol.Family) (string, error) {
	name := command(f, "-save")
	if path, err := exec.LookPath(name); err == nil {
		program, err := filepath.EvalSymlinks(path)
		switch {
		case err != nil:
		case filepath.Base(program) == "xtables-nft-multi":
			return flavourNFT, nil
		case filepath.Base(program) == "xtables-legacy-multi":
			return flavourLegacy, nil
		}
	}
	out, err := host(name).Run(ctx, "", "--version")
	if strings.Contains(out, "nf_tables") {
		return flavourNFT, err
	}
	return flavourLegacy, err // before 1.8 there was no other
}

// other returns the other flavour.
func other(flavour string) string {
	if flavour == flavourNFT {
		return flavourLegacy
	}
	return flavourNFT
}

// holdsTables reports whether the kernel has tables of a flavour. To ask the tool itself for
// any would make them, or load modules.
func holdsTables(ctx context.Context, flavour string, f protocol.Family) (bool, error) {
	if flavour == flavourNFT {
		tables, err := nftables.Tables(ctx)
		return slices.ContainsFunc(tables, func(table string) bool { return isOfIptables(f, table) }), err
	}
	name := map[protocol.Family]string{protocol.IPv4: "ip_tables_names", protocol.IPv6: "ip6_tables_names"}[f]
	names, err := os.ReadFile("/proc/thread-self/net/" + name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case errors.Is(err, fs.ErrPermission):
		return false, backend.ErrPrivilege
	}
	return len(names) > 0, err
}

// isOfIptables reports whether a table of nftables, as "ip filter", has the name of one of
// those of iptables.
func isOfIptables(f protocol.Family, table string) bool {
	family, name, _ := strings.Cut(table, " ")
	return family == map[protocol.Family]string{protocol.IPv4: "ip", protocol.IPv6: "ip6"}[f] &&
		slices.Contains([]string{"raw", "mangle", "nat", "filter", "security"}, name)
}
