package conns

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// ask sends conntrack of this network namespace a message about entries of the address's
// family, and returns what it answers.
func ask(message, flags int, of netip.Addr, attributes []byte) ([][]byte, error) {
	req := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_CTNETLINK<<8|message, flags)
	req.AddData(&nl.Nfgenmsg{NfgenFamily: uint8(byFamily(of, unix.AF_INET, unix.AF_INET6))})
	req.AddRawData(attributes)
	return req.Execute(unix.NETLINK_NETFILTER, 0)
}

// flowsOf lists what conntrack holds of the address's family.
func flowsOf(family netip.Addr) ([]flow, error) {
	messages, err := ask(nl.IPCTNL_MSG_CT_GET, unix.NLM_F_DUMP, family, nil)
	if err != nil {
		return nil, fmt.Errorf("listing what conntrack holds: %w", err)
	}
	all := make([]flow, 0, len(messages))
	for _, m := range messages {
		if len(m) > nl.SizeofNfgenmsg {
			all = append(all, flowOf(m[nl.SizeofNfgenmsg:]))
		}
	}
	return all, nil
}

// forget deletes the entry. gone is false when conntrack had it no more: what it has of
// the same two ends by now is another entry, with another number.
func (f flow) forget() (gone bool, err error) {
	_, err = ask(nl.IPCTNL_MSG_CT_DELETE, unix.NLM_F_ACK, f.asked.from.Addr(), f.raw)
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	return err == nil, err
}

// create makes the conntrack entry of a connection. unix.EEXIST says that there is one.
func (c connection) create() error {
	_, err := ask(nl.IPCTNL_MSG_CT_NEW, unix.NLM_F_ACK|unix.NLM_F_CREATE|unix.NLM_F_EXCL, c.client.Addr(), c.encode())
	return err
}
