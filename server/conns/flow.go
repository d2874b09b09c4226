package conns

import (
	"encoding/binary"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
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
