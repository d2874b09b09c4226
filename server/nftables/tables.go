package nftables

import (
	"context"
	"errors"
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
func Tables(ctx context.Context) (all []string, err error) {
	s, err := dial()
	if err != nil {
		return nil, orNone(err)
	}
	defer s.close()
	for range readTries {
		all = nil
		err = s.ask(ctx, request{kind: unix.NFT_MSG_GETTABLE, dump: true}, func(family byte, attrs []byte) error {
			for kind, value := range attributes(attrs) {
				if kind == unix.NFTA_TABLE_NAME {
					all = append(all, familyNames[family]+" "+stringOf(value))
				}
			}
			return nil
		})
		if !errors.Is(err, errChanged) {
			break
		}
	}
	slices.Sort(all)
	return all, orNone(err)
}

// HasChain reports whether a table of a family ("ip", "inet", …) has a chain.
// Errors: those of the context, [backend.ErrPrivilege].
func HasChain(ctx context.Context, family, table, chain string) (bool, error) {
	for number, name := range familyNames {
		if name == family {
			return exists(ctx, request{unix.NFT_MSG_GETCHAIN, number, false,
				append(attribute(unix.NFTA_CHAIN_TABLE, table), attribute(unix.NFTA_CHAIN_NAME, chain)...)})
		}
	}
	return false, nil
}

// exists reports whether there is what a request asks for.
func exists(ctx context.Context, r request) (found bool, err error) {
	s, err := dial()
	if err == nil {
		defer s.close()
		err = s.ask(ctx, r, func(byte, []byte) error { found = true; return nil })
	}
	return found, orNone(err)
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
