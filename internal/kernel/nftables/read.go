package nftables

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/sys/unix"

	"knockkit/internal/kernel/backend"
)

// extent says what is read of the table, beside the names of its objects.
type extent struct {
	rules  bool          // all rules, limits, and elements that are part of the rules
	chains []string      // the rules of these chains
	depth  backend.Depth // the elements of sets that packets fill
}

// readTries is how often a reading begins again because somebody changes rules meanwhile. The kernel
// does not say whose rules.
const readTries = 20

// readTable reads what is asked for, all of it between two changes of rules; elements may come and
// go. On a kernel without nf_tables there is no table. Errors: the context's,
// [backend.ErrPrivilege].
func readTable(ctx context.Context, what extent) (t *table, err error) {
	err = untilQuiet(func(s *socket) (err error) {
		t = newTable()
		if t.generation, err = s.generation(ctx); err != nil {
			return err
		}
		if err = s.read(ctx, t, what); err != nil {
			return err
		}
		now, err := s.generation(ctx)
		if err == nil && now != t.generation {
			err = errChanged
		}
		return err
	})
	if errors.Is(err, errAbsent) {
		return newTable(), nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading nftables: %w", err)
	}
	return t, nil
}

// untilQuiet reads, and reads again where rules are changed meanwhile.
func untilQuiet(read func(s *socket) error) error {
	s, err := dial()
	if err != nil {
		return err
	}
	defer s.close()
	for range readTries {
		if err = read(s); errors.Is(err, unix.ENOENT) { // an object went after it was listed
			err = errChanged
		}
		if !errors.Is(err, errChanged) {
			break
		}
	}
	return err
}

// generation asks the kernel how many transactions have changed rules.
func (s *socket) generation(ctx context.Context) (generation uint32, err error) {
	err = s.ask(ctx, request{kind: unix.NFT_MSG_GETGEN}, func(_ byte, attrs []byte) error {
		generation = uint32(numberOf(valueOf(attrs, unix.NFTA_GEN_ID)))
		return nil
	})
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
		err = errAbsent
	}
	return generation, err
}

// nftaTable is NFTA_TABLE_NAME, NFTA_CHAIN_TABLE, NFTA_RULE_TABLE, …: the same in all of them.
const nftaTable = unix.NFTA_TABLE_NAME

// ours is a request for objects of our table. Older kernels answer with those of other tables too.
func ours(kind int, more ...[]byte) request {
	return request{kind, unix.NFPROTO_INET, true, append(attribute(nftaTable, TableName), slices.Concat(more...)...)}
}

func (s *socket) read(ctx context.Context, t *table, what extent) (err error) {
	dump := func(r request, add func(attrs []byte)) {
		if err != nil {
			return
		}
		err = s.ask(ctx, r, func(_ byte, attrs []byte) error {
			if stringOf(valueOf(attrs, nftaTable)) == TableName {
				add(attrs)
			}
			return nil
		})
	}
	dump(request{unix.NFT_MSG_GETTABLE, unix.NFPROTO_INET, false, attribute(nftaTable, TableName)}, func(attrs []byte) {
		t.exists, t.dormant = true, numberOf(valueOf(attrs, unix.NFTA_TABLE_FLAGS))&unix.NFT_TABLE_F_DORMANT != 0
	})
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EAFNOSUPPORT) {
		return nil
	}
	dump(ours(unix.NFT_MSG_GETCHAIN), t.addChain)
	dump(ours(unix.NFT_MSG_GETSET), t.addSet)
	if what.rules {
		dump(ours(unix.NFT_MSG_GETOBJ), t.addLimit)
		dump(ours(unix.NFT_MSG_GETRULE), t.addRule)
	}
	for _, name := range what.chains {
		if t.chains[name] != nil && !what.rules {
			dump(ours(unix.NFT_MSG_GETRULE, attribute(unix.NFTA_RULE_CHAIN, name)), t.addRule)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(t.sets)) { // leases before those who opened them: a packet writes them in that order
		set := t.sets[name]
		add := func(attrs []byte) { set.raw = append(set.raw, fixedElement(attrs)) }
		switch {
		case set.fixed && (what.rules || set.anonymous && t.needs(name)):
		case !set.fixed && set.count != 0 && readsElements(set.is, what.depth):
			add = func(attrs []byte) {
				if e, ok := parseElement(attrs); ok {
					set.elements = append(set.elements, e)
				}
			}
		case set.count != 0 && t.readsUsers(name, what):
			add = func(attrs []byte) { t.addUser(set, attrs) }
		default:
			continue
		}
		dump(ours(unix.NFT_MSG_GETSETELEM, attribute(unix.NFTA_SET_ELEM_LIST_SET, name)), func(attrs []byte) { elementsOf(attrs, add) })
	}
	return err
}

// needs reports whether a rule that was read has the anonymous set in it.
func (t *table) needs(anonymous string) bool {
	for _, c := range t.chains {
		if slices.Contains(c.inRules, anonymous) {
			return true
		}
	}
	return false
}

// errEnough ends a dump.
var errEnough = errors.New("enough")

// stream calls each for the elements of a set, as they are read, until it returns false. whole says
// that all were read. It does not matter here that others change rules meanwhile.
func stream(ctx context.Context, name string, each func(element) bool) (whole bool, err error) {
	s, err := dial() // a socket cannot be used after a dump that was not read to its end
	if err != nil {
		return false, err
	}
	defer s.close()
	more := true
	err = s.ask(ctx, ours(unix.NFT_MSG_GETSETELEM, attribute(unix.NFTA_SET_ELEM_LIST_SET, name)), func(_ byte, attrs []byte) error {
		elementsOf(attrs, func(attrs []byte) {
			if e, ok := parseElement(attrs); ok && more {
				more = each(e)
			}
		})
		if !more {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) || errors.Is(err, errChanged) || errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	return err == nil, err
}

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

// Devices lists the interfaces of chains that are hooked to some interfaces only, by family, table
// and chain, as "netdev filter ingress". Older nft (1.0.6) does not print them in JSON. Errors: the
// context's, [backend.ErrPrivilege].
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

// hookDevices reads one interface (kernels before 5.5), or a list of them.
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

// orNone returns nil for an error that says that there is no such object, or no nf_tables.
func orNone(err error) error {
	for _, none := range []error{errAbsent, unix.ENOENT, unix.EAFNOSUPPORT, unix.EINVAL, unix.EOPNOTSUPP} {
		if errors.Is(err, none) {
			return nil
		}
	}
	return err
}
