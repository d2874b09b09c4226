package server

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Numbers of linux/netfilter/nfnetlink_conntrack.h, nf_conntrack_common.h and
// nf_conntrack_tcp.h.
const (
	ctMsgNew    = unix.NFNL_SUBSYS_CTNETLINK << 8
	ctMsgGet    = unix.NFNL_SUBSYS_CTNETLINK<<8 + 1
	ctMsgDelete = unix.NFNL_SUBSYS_CTNETLINK<<8 + 2

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

	ctTCPSynRecv, ctTCPEstablished, ctTCPFinWait, ctTCPCloseWait, ctTCPLastAck = 2, 3, 4, 5, 6

	ctTCPLiberal = 0x08 // the windows so far are not known
)

// way is one direction of a flow.
type way struct{ from, to netip.AddrPort }

// flow is an entry of conntrack.
type flow struct {
	proto    byte // unix.IPPROTO_TCP, …
	asked    way  // of its first packet
	answer   way  // of what comes back: asked, turned round, where NAT changes nothing
	state    byte // of TCP
	pickedUp bool // its beginning was not seen: either end may have made the connection
	raw      []byte
}

// connected reports whether a TCP connection exists: it was answered, and is not over.
func (f flow) connected() bool { return f.state >= ctTCPEstablished && f.state <= ctTCPLastAck }

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

// decode reads the attributes in f.raw.
func (f *flow) decode() error {
	ad, err := netlink.NewAttributeDecoder(f.raw)
	if err != nil {
		return err
	}
	ad.ByteOrder = binary.BigEndian
	for ad.Next() {
		switch ad.Type() {
		case ctaTupleOrig:
			ad.Nested(f.decodeWay(&f.asked))
		case ctaTupleReply:
			ad.Nested(f.decodeWay(&f.answer))
		case ctaProtoinfo:
			ad.Nested(func(ad *netlink.AttributeDecoder) error {
				for ad.Next() {
					if ad.Type() == ctaProtoinfoTCP {
						ad.Nested(f.decodeTCP)
					}
				}
				return nil
			})
		}
	}
	return ad.Err()
}

func (f *flow) decodeWay(w *way) func(*netlink.AttributeDecoder) error {
	return func(ad *netlink.AttributeDecoder) error {
		var from, to netip.Addr
		var fromPort, toPort uint16
		for ad.Next() {
			switch ad.Type() {
			case ctaTupleIP:
				ad.Nested(func(ad *netlink.AttributeDecoder) error {
					for ad.Next() {
						switch addr, _ := netip.AddrFromSlice(ad.Bytes()); ad.Type() {
						case ctaIPv4Src, ctaIPv6Src:
							from = addr
						case ctaIPv4Dst, ctaIPv6Dst:
							to = addr
						}
					}
					return nil
				})
			case ctaTupleProto:
				ad.Nested(func(ad *netlink.AttributeDecoder) error {
					for ad.Next() {
						switch ad.Type() {
						case ctaProtoNum:
							f.proto = ad.Uint8()
						case ctaProtoSrcPort:
							fromPort = ad.Uint16()
						case ctaProtoDstPort:
							toPort = ad.Uint16()
						}
					}
					return nil
				})
			}
		}
		*w = way{netip.AddrPortFrom(from, fromPort), netip.AddrPortFrom(to, toPort)}
		return nil
	}
}

func (f *flow) decodeTCP(ad *netlink.AttributeDecoder) error {
	for ad.Next() {
		switch ad.Type() {
		case ctaTCPState:
			f.state = ad.Uint8()
		case ctaTCPFlagsOriginal:
			f.pickedUp = len(ad.Bytes()) > 0 && ad.Bytes()[0]&ctTCPLiberal != 0
		}
	}
	return nil
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

// connection is a TCP connection that conntrack is told of.
type connection struct {
	client, server netip.AddrPort
	source         netip.AddrPort // what NAT makes of the client; the zero value: nothing
	stage          stage
}

// stage is how far a connection is.
type stage struct {
	state   uint8  // of conntrack
	status  uint32 // ctStatus…
	timeout uint32 // seconds until conntrack forgets it, if no packet comes
}

// established is a connection that both ends may use. Its timeout is conntrack's own.
var established = stage{ctTCPEstablished, ctStatusSeenReply | ctStatusAssured | ctStatusConf, 432000}

// create makes the conntrack entry of a connection. unix.EEXIST says that there is one.
func (c connection) create(ct *netlink.Conn) error {
	e := netlink.NewAttributeEncoder()
	e.ByteOrder = binary.BigEndian
	e.Nested(ctaTupleOrig, tuple(c.client, c.server))
	e.Nested(ctaTupleReply, tuple(c.server, c.client))
	e.Uint32(ctaStatus, c.stage.status)
	e.Uint32(ctaTimeout, c.stage.timeout)
	e.Nested(ctaProtoinfo, func(e *netlink.AttributeEncoder) error {
		e.Nested(ctaProtoinfoTCP, func(e *netlink.AttributeEncoder) error {
			e.Uint8(ctaTCPState, c.stage.state)
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
	_, err = ct.Execute(netlink.Message{
		Header: netlink.Header{Type: ctMsgNew, Flags: netlink.Request | netlink.Acknowledge | netlink.Create | netlink.Excl},
		Data:   append(nfgenmsg(c.client.Addr()), attrs...),
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
