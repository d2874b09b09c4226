package conns

import (
	"encoding/binary"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// connection is a TCP connection that conntrack is told of.
type connection struct {
	client, server netip.AddrPort
	source         netip.AddrPort // the client's address behind source NAT; zero: there is none
	stage          stage
}

// stage is how far a connection has come.
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

// way is one direction of a flow.
type way struct{ from, to netip.AddrPort }

// flow is an entry of conntrack.
type flow struct {
	proto    byte // unix.IPPROTO_TCP, …
	asked    way  // the way of its first packet
	answer   way  // the way of the answers: asked, reversed, where NAT changes nothing
	state    byte // of TCP
	pickedUp bool // conntrack has not seen it begin: either end may have made it
	raw      []byte
}

// flowOf reads the attributes of an entry.
func flowOf(raw []byte) flow {
	tcp := attribute(raw, nl.CTA_PROTOINFO, nl.CTA_PROTOINFO_TCP)
	return flow{
		proto:    first(attribute(raw, nl.CTA_TUPLE_ORIG, nl.CTA_TUPLE_PROTO, nl.CTA_PROTO_NUM)),
		asked:    wayOf(attribute(raw, nl.CTA_TUPLE_ORIG)),
		answer:   wayOf(attribute(raw, nl.CTA_TUPLE_REPLY)),
		state:    first(attribute(tcp, nl.CTA_PROTOINFO_TCP_STATE)),
		pickedUp: first(attribute(tcp, nl.CTA_PROTOINFO_TCP_FLAGS_ORIGINAL))&tcpLiberal != 0,
		raw:      raw,
	}
}

func wayOf(tuple []byte) way {
	end := func(v4, v6, port uint16) netip.AddrPort {
		addr, ok := netip.AddrFromSlice(attribute(tuple, nl.CTA_TUPLE_IP, v4))
		if !ok {
			addr, _ = netip.AddrFromSlice(attribute(tuple, nl.CTA_TUPLE_IP, v6))
		}
		var number [2]byte // 0 of a protocol without ports
		copy(number[:], attribute(tuple, nl.CTA_TUPLE_PROTO, port))
		return netip.AddrPortFrom(addr, binary.BigEndian.Uint16(number[:]))
	}
	return way{
		end(nl.CTA_IP_V4_SRC, nl.CTA_IP_V6_SRC, nl.CTA_PROTO_SRC_PORT),
		end(nl.CTA_IP_V4_DST, nl.CTA_IP_V6_DST, nl.CTA_PROTO_DST_PORT),
	}
}

// attribute returns the value at the end of a path of nested attributes; nil: there is none.
func attribute(raw []byte, path ...uint16) []byte {
	for len(path) > 0 && len(raw) >= nl.SizeofNfattr {
		size, kind := int(binary.NativeEndian.Uint16(raw)), binary.NativeEndian.Uint16(raw[2:])&nl.NLA_TYPE_MASK
		if size < nl.SizeofNfattr || size > len(raw) {
			break
		}
		if kind != path[0] {
			raw = raw[min((size+3)&^3, len(raw)):]
			continue
		}
		if raw, path = raw[nl.SizeofNfattr:size], path[1:]; len(path) == 0 {
			return raw
		}
	}
	return nil
}

// first returns the first byte; 0: there is none.
func first(b []byte) byte {
	if len(b) == 0 {
		return 0
	}
	return b[0]
}

// connected reports whether a TCP connection exists: it was answered, and is not over.
func (f flow) connected() bool {
	return f.state >= nl.TCP_CONNTRACK_ESTABLISHED && f.state <= nl.TCP_CONNTRACK_LAST_ACK
}

// retried is longer than a host waits before it sends again a packet that was not acknowledged: 2
// minutes at most (TCP_RTO_MAX). In seconds.
const retried = 300

// stageOf says how far the socket's connection has come, as conntrack would know it. The times are
// until the next packet; from then on conntrack's own apply.
//
// A side that has more to send may be silent for long, so a half-closed connection is remembered
// like an open one. Where a packet has to be acknowledged, one comes soon. A handshake is adopted
// too: the client takes the connection for open when the host has answered, and only packets of the
// same two ends pass by that.
func stageOf(s socket) (stage, bool) {
	at := established
	switch s.State {
	case netlink.TCP_ESTABLISHED:
	case netlink.TCP_SYN_RECV:
		at = stage{nl.TCP_CONNTRACK_SYN_RECV, statusSeenReply | statusConfirmed, 60}
	case netlink.TCP_CLOSE_WAIT:
		at.state = nl.TCP_CONNTRACK_CLOSE_WAIT
	case netlink.TCP_FIN_WAIT2:
		at.state = nl.TCP_CONNTRACK_CLOSE_WAIT // of either end: the other has acknowledged the FIN
		if s.INode == 0 {                      // its process has gone, and the kernel waits tcp_fin_timeout for the client's FIN
			at.timeout = retried
		}
	case netlink.TCP_FIN_WAIT1:
		at.state, at.timeout = nl.TCP_CONNTRACK_FIN_WAIT, retried
	case netlink.TCP_LAST_ACK, netlink.TCP_CLOSING:
		at.state, at.timeout = nl.TCP_CONNTRACK_LAST_ACK, retried
	default: // the host connects to somebody, or the connection is over
		return stage{}, false
	}
	return at, true
}
