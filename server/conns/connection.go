package conns

import (
	"encoding/binary"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

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

// encode writes the attributes of the entry.
func (c connection) encode() ([]byte, error) {
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
	return e.Encode()
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
