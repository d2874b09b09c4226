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

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"knockkit/protocol"
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

// holdsTables reports whether the kernel has tables of a flavour. To ask the tool itself for
// any would make them, or load modules.
func holdsTables(flavour string, f protocol.Family) (bool, error) {
	if flavour == flavourNFT {
		return nftTables(f)
	}
	name := map[protocol.Family]string{protocol.IPv4: "ip_tables_names", protocol.IPv6: "ip6_tables_names"}[f]
	names, err := os.ReadFile("/proc/thread-self/net/" + name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return len(names) > 0, err
}

// nftTables reports whether nftables has tables by the names of those of iptables.
func nftTables(f protocol.Family) (bool, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	family := map[protocol.Family]byte{protocol.IPv4: unix.NFPROTO_IPV4, protocol.IPv6: unix.NFPROTO_IPV6}[f]
	answers, err := conn.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETTABLE, Flags: netlink.Request | netlink.Dump},
		Data:   []byte{family, unix.NFNETLINK_V0, 0, 0},
	})
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
		return false, nil // a kernel without nftables
	}
	for _, a := range answers {
		const header = 4 // struct nfgenmsg
		attributes, err := netlink.UnmarshalAttributes(a.Data[header:])
		if err != nil {
			return false, err
		}
		for _, attr := range attributes {
			name := strings.TrimRight(string(attr.Data), "\x00")
			if attr.Type == unix.NFTA_TABLE_NAME && slices.Contains([]string{"raw", "mangle", "nat", "filter", "security"}, name) {
				return true, nil
			}
		}
	}
	return false, err
}
