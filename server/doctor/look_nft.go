package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"knockkit/server/backend"
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
	devices, err := nftDevices(ctx)
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

// Numbers of linux/netfilter/nfnetlink.h and nf_tables.h that x/sys/unix does not have.
const (
	sizeofNfgenmsg   = 4 // struct nfgenmsg: it comes before the attributes
	nftaHookDevs     = 4 // NFTA_HOOK_DEVS
	nftaDeviceName   = 1 // NFTA_DEVICE_NAME
	nftaDevicePrefix = 2 // NFTA_DEVICE_PREFIX, of Linux 6.16
)

// nftTables lists the tables of nft, "inet filter": none where the kernel has no nf_tables.
func nftTables(ctx context.Context) ([]string, error) {
	var all []string
	err := dumpNFT(ctx, unix.NFT_MSG_GETTABLE, func(family string, a *netlink.AttributeDecoder) {
		for a.Next() {
			if a.Type() == unix.NFTA_TABLE_NAME {
				all = append(all, family+" "+a.String())
			}
		}
	})
	return all, err
}

// nftDevices lists the interfaces of chains that are called for some only: of "netdev
// filter ingress", the table and the chain. Older nft (1.0.6) prints them in no JSON.
func nftDevices(ctx context.Context) (map[string][]string, error) {
	all := map[string][]string{}
	err := dumpNFT(ctx, unix.NFT_MSG_GETCHAIN, func(family string, a *netlink.AttributeDecoder) {
		var table, name string
		var devices []string
		for a.Next() {
			switch a.Type() {
			case unix.NFTA_CHAIN_TABLE:
				table = a.String()
			case unix.NFTA_CHAIN_NAME:
				name = a.String()
			case unix.NFTA_CHAIN_HOOK:
				a.Nested(func(hook *netlink.AttributeDecoder) error {
					devices = hookDevices(hook)
					return nil
				})
			}
		}
		all[family+" "+table+" "+name] = devices
	})
	return all, err
}

// hookDevices reads one interface, or a list of them, as kernels before 5.5 and since say it.
func hookDevices(hook *netlink.AttributeDecoder) (devices []string) {
	for hook.Next() {
		switch hook.Type() {
		case unix.NFTA_HOOK_DEV:
			devices = []string{hook.String()}
		case nftaHookDevs:
			devices = nil // the one is also in the list
			hook.Nested(func(list *netlink.AttributeDecoder) error {
				for list.Next() {
					switch list.Type() {
					case nftaDeviceName:
						devices = append(devices, list.String())
					case nftaDevicePrefix:
						devices = append(devices, list.String()+"*")
					}
				}
				return nil
			})
		}
	}
	return devices
}

// dumpNFT asks for all objects of a kind in the network namespace of the caller's
// thread, and hands on each with its family.
func dumpNFT(ctx context.Context, kind int, each func(family string, a *netlink.AttributeDecoder)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	messages, err := askNFT(kind)
	switch {
	case errors.Is(err, unix.EPERM):
		return backend.ErrPrivilege
	case errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.EINVAL):
		return nil // the kernel has no netfilter, or no nf_tables
	case err != nil:
		return fmt.Errorf("nf_tables: %w", err)
	}
	families := map[byte]string{unix.NFPROTO_INET: "inet", unix.NFPROTO_IPV4: "ip", unix.NFPROTO_IPV6: "ip6",
		unix.NFPROTO_NETDEV: "netdev", unix.NFPROTO_ARP: "arp", unix.NFPROTO_BRIDGE: "bridge"}
	for _, m := range messages {
		if len(m.Data) < sizeofNfgenmsg {
			continue
		}
		a, err := netlink.NewAttributeDecoder(m.Data[sizeofNfgenmsg:])
		if err == nil {
			each(families[m.Data[0]], a)
			err = a.Err()
		}
		if err != nil {
			return fmt.Errorf("nf_tables: %w", err)
		}
	}
	return nil
}

func askNFT(kind int) ([]netlink.Message, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	const often = 5 // as long as others commit meanwhile
	var messages []netlink.Message
	for range often {
		messages, err = conn.Execute(netlink.Message{
			Header: netlink.Header{Type: netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | kind), Flags: netlink.Request | netlink.Dump},
			Data:   make([]byte, sizeofNfgenmsg), // every family
		})
		if err != nil || !slices.ContainsFunc(messages, func(m netlink.Message) bool { return m.Header.Flags&netlink.DumpInterrupted != 0 }) {
			break
		}
	}
	return messages, err
}
