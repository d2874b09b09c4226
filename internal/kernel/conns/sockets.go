package conns

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"knockkit/protocol"
)

// socketsOf lists the TCP sockets of connections that are not over, of all families,
// and the ports that something listens on. A socket of such a port was accepted here:
// the kernel gives none of these ports to a socket that connects to somebody else.
func socketsOf() (all []socket, listens map[uint16]bool, err error) {
	found, err := list(netlink.SocketDiagTCP)
	if err != nil {
		return nil, nil, fmt.Errorf("listing the connections that exist: %w", err)
	}
	listens = map[uint16]bool{}
	for _, s := range found {
		switch s.State {
		case netlink.TCP_LISTEN:
			listens[s.ID.SourcePort] = true
		case netlink.TCP_CLOSE, netlink.TCP_TIME_WAIT: // over
		default:
			all = append(all, socket{s, ends(s)})
		}
	}
	return all, listens, nil
}

// Listeners lists the sockets of TCP that listen, and those of UDP that are connected to
// nobody. Any user may ask. After an error of one protocol there are those of the other.
func Listeners() (all []Listener, err error) {
	for _, of := range []struct {
		proto protocol.Proto
		list  func(family uint8) ([]*netlink.Socket, error)
		state uint8 // of a socket that listens
	}{{protocol.TCP, netlink.SocketDiagTCP, netlink.TCP_LISTEN}, {protocol.UDP, netlink.SocketDiagUDP, netlink.TCP_CLOSE}} {
		found, e := list(of.list)
		if e != nil {
			err = errors.Join(err, fmt.Errorf("listing the sockets of %s: %w", of.proto, e))
		}
		for _, s := range found {
			if s.State == of.state {
				all = append(all, Listener{protocol.Knock{Proto: of.proto, Port: s.ID.SourcePort}, ends(s).from.Addr()})
			}
		}
	}
	return all, err
}

// list lists the sockets of both families.
func list(of func(family uint8) ([]*netlink.Socket, error)) ([]*netlink.Socket, error) {
	four, err := of(unix.AF_INET)
	if err != nil {
		return nil, err
	}
	six, err := of(unix.AF_INET6)
	return append(four, six...), err
}

// destroy ends the connection of this socket and of no other, by its cookie. Given two ends alone,
// the kernel would take the listening socket when the connection is over. Errors: unix.ENOENT or
// unix.ESTALE when the socket is gone, unix.EOPNOTSUPP where the kernel was built without
// INET_DIAG_DESTROY.
func (s socket) destroy() error {
	req := nl.NewNetlinkRequest(nl.SOCK_DESTROY, unix.NLM_F_ACK)
	req.AddRawData(s.request())
	_, err := req.Execute(unix.NETLINK_INET_DIAG, 0)
	return err
}

// ask sends conntrack of this network namespace a message about entries of the address's
// family, and returns what it answers.
func ask(message, flags int, of netip.Addr, attributes []byte) ([][]byte, error) {
	req := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_CTNETLINK<<8|message, flags)
	req.AddData(&nl.Nfgenmsg{NfgenFamily: uint8(byFamily(of, unix.AF_INET, unix.AF_INET6))})
	req.AddRawData(attributes)
	return req.Execute(unix.NETLINK_NETFILTER, 0)
}

// flowsOf lists conntrack's entries of the address's family.
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

// forget deletes the entry. gone is false when conntrack has it no more: an entry of the same two
// ends that has come since has another number.
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
