package conns

import (
	"encoding/binary"
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
