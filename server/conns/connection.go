package conns

import (
	"net/netip"

	"github.com/vishvananda/netlink/nl"
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
	status  uint32 // status…
	timeout uint32 // seconds until conntrack forgets it, if no packet comes
}

// Numbers of linux/netfilter/nf_conntrack_common.h, nf_conntrack_tcp.h and
// nfnetlink_conntrack.h that package nl has not.
const (
	statusSeenReply, statusAssured, statusConfirmed = 1 << 1, 1 << 2, 1 << 3

	tcpLiberal = 0x08 // the windows so far are not known

	natSource                    = 6 // CTA_NAT_SRC
	natV4Min, natV4Max, natPorts = 1, 2, 3
	natV6Min, natV6Max           = 4, 5
	natPortMin, natPortMax       = 1, 2
)

// established is a connection that both ends may use. Its timeout is conntrack's own.
var established = stage{nl.TCP_CONNTRACK_ESTABLISHED, statusSeenReply | statusAssured | statusConfirmed, 432000}

// encode returns the attributes of the entry.
func (c connection) encode() []byte {
	liberal := []byte{tcpLiberal, tcpLiberal} // flags, mask
	all := nested(0,
		tuple(nl.CTA_TUPLE_ORIG, c.client, c.server),
		tuple(nl.CTA_TUPLE_REPLY, c.server, c.client),
		nl.NewRtAttr(nl.CTA_STATUS, nl.BEUint32Attr(c.stage.status)),
		nl.NewRtAttr(nl.CTA_TIMEOUT, nl.BEUint32Attr(c.stage.timeout)),
		nested(nl.CTA_PROTOINFO, nested(nl.CTA_PROTOINFO_TCP,
			nl.NewRtAttr(nl.CTA_PROTOINFO_TCP_STATE, []byte{c.stage.state}),
			nl.NewRtAttr(nl.CTA_PROTOINFO_TCP_FLAGS_ORIGINAL, liberal),
			nl.NewRtAttr(nl.CTA_PROTOINFO_TCP_FLAGS_REPLY, liberal))))
	if c.source.IsValid() {
		lowest, highest := byFamily(c.source.Addr(), natV4Min, natV6Min), byFamily(c.source.Addr(), natV4Max, natV6Max)
		port := nl.BEUint16Attr(c.source.Port())
		all.AddChild(nested(natSource,
			nl.NewRtAttr(lowest, c.source.Addr().AsSlice()),
			nl.NewRtAttr(highest, c.source.Addr().AsSlice()),
			nested(natPorts, nl.NewRtAttr(natPortMin, port), nl.NewRtAttr(natPortMax, port))))
	}
	return all.Serialize()[nl.SizeofNfattr:]
}

// tuple is one direction of a connection.
func tuple(kind int, from, to netip.AddrPort) *nl.RtAttr {
	return nested(kind,
		nested(nl.CTA_TUPLE_IP,
			nl.NewRtAttr(byFamily(from.Addr(), nl.CTA_IP_V4_SRC, nl.CTA_IP_V6_SRC), from.Addr().AsSlice()),
			nl.NewRtAttr(byFamily(from.Addr(), nl.CTA_IP_V4_DST, nl.CTA_IP_V6_DST), to.Addr().AsSlice())),
		nested(nl.CTA_TUPLE_PROTO,
			nl.NewRtAttr(nl.CTA_PROTO_NUM, []byte{unix.IPPROTO_TCP}),
			nl.NewRtAttr(nl.CTA_PROTO_SRC_PORT, nl.BEUint16Attr(from.Port())),
			nl.NewRtAttr(nl.CTA_PROTO_DST_PORT, nl.BEUint16Attr(to.Port()))))
}

func nested(kind int, parts ...*nl.RtAttr) *nl.RtAttr {
	a := nl.NewRtAttr(kind|unix.NLA_F_NESTED, nil)
	for _, part := range parts {
		a.AddChild(part)
	}
	return a
}

func byFamily(of netip.Addr, v4, v6 int) int {
	if of.Is4() {
		return v4
	}
	return v6
}
