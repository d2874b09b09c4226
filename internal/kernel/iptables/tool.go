package iptables

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"knockkit/internal/kernel/nftables"
	hosttool "knockkit/internal/kernel/tool"
	"knockkit/protocol"
)

// command returns the name of a family's command: "ip6tables-save".
func command(f protocol.Family, suffix string) string {
	if f == protocol.IPv4 {
		return "iptables" + suffix
	}
	return "ip6tables" + suffix
}

// restoreCommand is how a text is committed: beside what is there, and waiting
// for whoever holds the tool's lock.
func restoreCommand(f protocol.Family) []string {
	return []string{command(f, "-restore"), "--noflush", "--wait"}
}

// host is a tool of iptables.
func host(name string, inherit ...*os.File) hosttool.Tool {
	return hosttool.Tool{Name: name, Package: "iptables", Inherit: inherit, ParseError: toolError}
}

var lineNumber = regexp.MustCompile(`line:? (\d+)`)

// toolError reads "iptables-restore: line 12 failed": the message, and the line of our text that it
// names.
func toolError(stderr string) (what string, line int) {
	if m := lineNumber.FindStringSubmatch(stderr); m != nil {
		line, _ = strconv.Atoi(m[1]) // a number that is too large is no line
	}
	return stderr, line
}

// The flavours of iptables: which of the kernel's packet filters the rules are in.
const (
	flavourNFT    = "iptables-nft"
	flavourLegacy = "iptables-legacy"
)

// flavour returns which iptables the host's commands of a family are: "iptables-nft" or
// "iptables-legacy".
func flavour(ctx context.Context, f protocol.Family) (string, error) {
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

// hasTables reports whether the kernel has tables of a flavour. The tool is not asked: that would
// make them, or load modules. denied says that the root of a user namespace may not see those of
// iptables-legacy.
func hasTables(ctx context.Context, flavour string, f protocol.Family) (has, denied bool, err error) {
	if flavour == flavourNFT {
		tables, err := nftables.Tables(ctx)
		return slices.ContainsFunc(tables, func(table string) bool { return isOfIptables(f, table) }), false, err
	}
	name := map[protocol.Family]string{protocol.IPv4: "ip_tables_names", protocol.IPv6: "ip6_tables_names"}[f]
	names, err := os.ReadFile("/proc/thread-self/net/" + name)
	denied = errors.Is(err, fs.ErrPermission)
	if denied || errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return len(names) > 0, denied, err
}

// isOfIptables reports whether a table of nftables, as "ip filter", has the name of one of
// those of iptables.
func isOfIptables(f protocol.Family, table string) bool {
	family, name, _ := strings.Cut(table, " ")
	return family == map[protocol.Family]string{protocol.IPv4: "ip", protocol.IPv6: "ip6"}[f] &&
		slices.Contains([]string{"raw", "mangle", "nat", "filter", "security"}, name)
}

// chainTry holds a rule that [Try] commits. Nothing jumps to it.
const chainTry = "KNOCKD-TRY"

// Try commits a rule with `-m recent` and takes it away again, in two transactions of one text, and
// returns why that failed; nil: it did not. On a kernel without a table `filter`, iptables-nft
// leaves an empty one. Errors: the context's, [backend.ErrPrivilege], those of the tool.
func Try(ctx context.Context, inherit ...*os.File) error {
	loadModule(ctx)
	rule := table{protocol.IPv4, chainTry, protocol.IPv4.Bits()}.check()
	text := fmt.Sprintf("*filter\n:%[1]s - [0:0]\n-A %[1]s %[2]s\nCOMMIT\n*filter\n-F %[1]s\n-X %[1]s\nCOMMIT\n", chainTry, rule)
	return restore(ctx, protocol.IPv4, text, inherit)
}
