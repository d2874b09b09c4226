package nftables

import (
	"context"
	"errors"
	"maps"
	"slices"

	"golang.org/x/sys/unix"
)

// familyNames are nft's names of the families of tables.
var familyNames = map[byte]string{
	unix.NFPROTO_INET: "inet", unix.NFPROTO_IPV4: "ip", unix.NFPROTO_ARP: "arp",
	unix.NFPROTO_NETDEV: "netdev", unix.NFPROTO_BRIDGE: "bridge", unix.NFPROTO_IPV6: "ip6",
}

// Tables lists the tables of all of nftables, as "inet filter".
// Errors: those of the context, [backend.ErrPrivilege].
func Tables(ctx context.Context) ([]string, error) {
	found := map[string]bool{}
	err := dumpAll(ctx, unix.NFT_MSG_GETTABLE, func(family string, attrs []byte) {
		found[family+" "+stringOf(valueOf(attrs, unix.NFTA_TABLE_NAME))] = true
	})
	return slices.Sorted(maps.Keys(found)), err
}

// Devices lists the interfaces of chains that are called for some only, by family, table and
// chain, as "netdev filter ingress". Older nft (1.0.6) prints them in no JSON.
// Errors: those of the context, [backend.ErrPrivilege].
func Devices(ctx context.Context) (map[string][]string, error) {
	all := map[string][]string{}
	err := dumpAll(ctx, unix.NFT_MSG_GETCHAIN, func(family string, attrs []byte) {
		of, name := stringOf(valueOf(attrs, unix.NFTA_CHAIN_TABLE)), stringOf(valueOf(attrs, unix.NFTA_CHAIN_NAME))
		all[family+" "+of+" "+name] = hookDevices(valueOf(attrs, unix.NFTA_CHAIN_HOOK))
	})
	return all, err
}

// Numbers of linux/netfilter/nf_tables.h that x/sys/unix does not have.
const (
	nftaHookDevs     = 4 // NFTA_HOOK_DEVS
	nftaDeviceName   = 1 // NFTA_DEVICE_NAME
	nftaDevicePrefix = 2 // NFTA_DEVICE_PREFIX, of Linux 6.16
)

// hookDevices reads one interface, or a list of them, as kernels before 5.5 and since say it.
func hookDevices(hook []byte) (devices []string) {
	for kind, value := range attributes(valueOf(hook, nftaHookDevs)) {
		switch kind {
		case nftaDeviceName:
			devices = append(devices, stringOf(value))
		case nftaDevicePrefix:
			devices = append(devices, stringOf(value)+"*")
		}
	}
	if one := valueOf(hook, unix.NFTA_HOOK_DEV); one != nil && devices == nil { // the one is also in the list
		devices = []string{stringOf(one)}
	}
	return devices
}

// dumpAll asks for all objects of a kind, of all tables. Where the kernel has no nf_tables
// there are none.
func dumpAll(ctx context.Context, kind int, each func(family string, attrs []byte)) error {
	return orNone(untilQuiet(func(s *socket) error {
		return s.ask(ctx, request{kind: kind, dump: true}, func(family byte, attrs []byte) error {
			each(familyNames[family], attrs)
			return nil
		})
	}))
}

// orNone is nil for an error that says that there is no such thing, or no nf_tables.
func orNone(err error) error {
	for _, none := range []error{errAbsent, unix.ENOENT, unix.EAFNOSUPPORT, unix.EINVAL, unix.EOPNOTSUPP} {
		if errors.Is(err, none) {
			return nil
		}
	}
	return err
}
