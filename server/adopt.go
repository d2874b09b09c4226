package server

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/mdlayher/netlink"
	vnetlink "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"knockkit/protocol"
)

// adopt tells conntrack of the TCP connections that exist to ports which are about
// to be gated. On a host whose rules have never asked for it, conntrack does not
// run, and would take the next packet of each for one that belongs to nothing: the
// gate would cut off everybody who is in.
func adopt(profiles []*protocol.Profile) error {
	if len(profiles) == 0 {
		return nil
	}
	var conns []connection
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		sockets, err := vnetlink.SocketDiagTCP(family)
		if err != nil {
			return fmt.Errorf("listing the connections that exist: %w", err)
		}
		for _, s := range sockets {
			if c, ok := toAdopt(s, profiles); ok {
				conns = append(conns, c)
			}
		}
	}
	if len(conns) == 0 {
		return nil
	}
	ct, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return fmt.Errorf("conntrack: %w", err)
	}
	defer ct.Close()
	for _, c := range conns {
		if err := c.create(ct); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("telling conntrack of %s: %w", c.client, err)
		}
	}
	return nil
}

// connection is a TCP connection that a client has made.
type connection struct {
	client, server netip.AddrPort
	source         netip.AddrPort // what NAT makes of the client; the zero value: nothing
}

// toAdopt returns the socket's connection if it goes to a port of the profiles.
func toAdopt(s *vnetlink.Socket, profiles []*protocol.Profile) (connection, bool) {
	src, ok1 := netip.AddrFromSlice(s.ID.Destination)
	dst, ok2 := netip.AddrFromSlice(s.ID.Source)
	if !ok1 || !ok2 || s.State != vnetlink.TCP_ESTABLISHED {
		return connection{}, false
	}
	c := connection{client: netip.AddrPortFrom(src.Unmap(), s.ID.DestinationPort), server: netip.AddrPortFrom(dst.Unmap(), s.ID.SourcePort)}
	if c.client.Addr().IsLoopback() {
		return c, false
	}
	for _, p := range profiles {
		if p.Opens(protocol.Knock{Proto: protocol.TCP, Port: c.server.Port()}) {
			return c, true
		}
	}
	return c, false
}

// Numbers of linux/netfilter/nfnetlink_conntrack.h, nf_conntrack_common.h and
// nf_conntrack_tcp.h.
const (
	ctMsgNew = unix.NFNL_SUBSYS_CTNETLINK << 8

	ctaTupleOrig, ctaTupleReply, ctaStatus, ctaProtoinfo, ctaNATSource, ctaTimeout = 1, 2, 3, 4, 6, 7

	ctaTupleIP, ctaTupleProto                        = 1, 2
	ctaIPv4Src, ctaIPv4Dst, ctaIPv6Src, ctaIPv6Dst   = 1, 2, 3, 4
	ctaProtoNum, ctaProtoSrcPort, ctaProtoDstPort    = 1, 2, 3
	ctaProtoinfoTCP, ctaTCPState                     = 1, 1
	ctaTCPFlagsOriginal, ctaTCPFlagsReply            = 4, 5
	ctaNATv4Min, ctaNATv4Max, ctaNATPorts            = 1, 2, 3
	ctaNATv6Min, ctaNATv6Max                         = 4, 5
	ctaNATPortMin, ctaNATPortMax                     = 1, 2
	ctStatusSeenReply, ctStatusAssured, ctStatusConf = 1 << 1, 1 << 2, 1 << 3
	ctTCPEstablished                                 = 3
	ctTCPLiberal                                     = 0x08 // the windows so far are not known

	// ctTimeout is conntrack's own for established TCP connections, in seconds.
	ctTimeout = 432000
)

// create makes the conntrack entry of an established connection. unix.EEXIST says
// that there is one.
func (c connection) create(ct *netlink.Conn) error {
	e := netlink.NewAttributeEncoder()
	e.ByteOrder = binary.BigEndian
	e.Nested(ctaTupleOrig, tuple(c.client, c.server))
	e.Nested(ctaTupleReply, tuple(c.server, c.client))
	e.Uint32(ctaStatus, ctStatusSeenReply|ctStatusAssured|ctStatusConf)
	e.Uint32(ctaTimeout, ctTimeout)
	e.Nested(ctaProtoinfo, func(e *netlink.AttributeEncoder) error {
		e.Nested(ctaProtoinfoTCP, func(e *netlink.AttributeEncoder) error {
			e.Uint8(ctaTCPState, ctTCPEstablished)
			e.Bytes(ctaTCPFlagsOriginal, []byte{ctTCPLiberal, ctTCPLiberal}) // flags, mask
			e.Bytes(ctaTCPFlagsReply, []byte{ctTCPLiberal, ctTCPLiberal})
			return nil
		})
		return nil
	})
	if c.source.IsValid() {
		e.Nested(ctaNATSource, nat(c.source))
	}
	attrs, err := e.Encode()
	if err != nil {
		return err
	}
	family := byte(unix.AF_INET)
	if c.client.Addr().Is6() {
		family = unix.AF_INET6
	}
	_, err = ct.Execute(netlink.Message{
		Header: netlink.Header{Type: ctMsgNew, Flags: netlink.Request | netlink.Acknowledge | netlink.Create | netlink.Excl},
		Data:   append([]byte{family, 0, 0, 0}, attrs...), // struct nfgenmsg
	})
	return err
}

// tuple encodes one direction of a connection.
func tuple(from, to netip.AddrPort) func(*netlink.AttributeEncoder) error {
	return func(e *netlink.AttributeEncoder) error {
		e.Nested(ctaTupleIP, func(e *netlink.AttributeEncoder) error {
			src, dst := uint16(ctaIPv4Src), uint16(ctaIPv4Dst)
			if from.Addr().Is6() {
				src, dst = ctaIPv6Src, ctaIPv6Dst
			}
			e.Bytes(src, from.Addr().AsSlice())
			e.Bytes(dst, to.Addr().AsSlice())
			return nil
		})
		e.Nested(ctaTupleProto, func(e *netlink.AttributeEncoder) error {
			e.Uint8(ctaProtoNum, unix.IPPROTO_TCP)
			e.Uint16(ctaProtoSrcPort, from.Port())
			e.Uint16(ctaProtoDstPort, to.Port())
			return nil
		})
		return nil
	}
}

// nat encodes what an address and port are translated to.
func nat(to netip.AddrPort) func(*netlink.AttributeEncoder) error {
	return func(e *netlink.AttributeEncoder) error {
		first, last := uint16(ctaNATv4Min), uint16(ctaNATv4Max)
		if to.Addr().Is6() {
			first, last = ctaNATv6Min, ctaNATv6Max
		}
		e.Bytes(first, to.Addr().AsSlice())
		e.Bytes(last, to.Addr().AsSlice())
		e.Nested(ctaNATPorts, func(e *netlink.AttributeEncoder) error {
			e.Uint16(ctaNATPortMin, to.Port())
			e.Uint16(ctaNATPortMax, to.Port())
			return nil
		})
		return nil
	}
}
