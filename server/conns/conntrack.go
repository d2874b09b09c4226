package conns

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// openConntrack connects to conntrack of this network namespace.
func openConntrack() (*netlink.Conn, error) {
	ct, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, fmt.Errorf("conntrack: %w", err)
	}
	return ct, nil
}

// nfgenmsg is struct nfgenmsg: it comes before the attributes.
func nfgenmsg(of netip.Addr) []byte {
	if of.Is4() {
		return []byte{unix.AF_INET, 0, 0, 0}
	}
	return []byte{unix.AF_INET6, 0, 0, 0}
}

// flowsOf lists what conntrack holds of the address's family.
func flowsOf(ct *netlink.Conn, family netip.Addr) ([]flow, error) {
	messages, err := ct.Execute(netlink.Message{
		Header: netlink.Header{Type: ctMsgGet, Flags: netlink.Request | netlink.Dump}, Data: nfgenmsg(family)})
	if err != nil {
		return nil, fmt.Errorf("listing what conntrack holds: %w", err)
	}
	all := make([]flow, 0, len(messages))
	for _, m := range messages {
		if len(m.Data) < len(nfgenmsg(family)) {
			continue
		}
		f := flow{raw: m.Data[len(nfgenmsg(family)):]}
		if err := f.decode(); err != nil {
			return nil, fmt.Errorf("reading what conntrack holds: %w", err)
		}
		all = append(all, f)
	}
	return all, nil
}

// forget deletes the entry. gone is false when conntrack had it no more: what it has of
// the same two ends by now is another entry, with another number.
func (f flow) forget(ct *netlink.Conn) (gone bool, err error) {
	_, err = ct.Execute(netlink.Message{
		Header: netlink.Header{Type: ctMsgDelete, Flags: netlink.Request | netlink.Acknowledge},
		Data:   append(nfgenmsg(f.asked.from.Addr()), f.raw...)})
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	return err == nil, err
}

// create makes the conntrack entry of a connection. unix.EEXIST says that there is one.
func (c connection) create(ct *netlink.Conn) error {
	attrs, err := c.encode()
	if err != nil {
		return err
	}
	_, err = ct.Execute(netlink.Message{
		Header: netlink.Header{Type: ctMsgNew, Flags: netlink.Request | netlink.Acknowledge | netlink.Create | netlink.Excl},
		Data:   append(nfgenmsg(c.client.Addr()), attrs...),
	})
	return err
}
