package events

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"knockkit/internal/kernel/backend"
	"knockkit/protocol"
)

// packet is the headers of a reported packet.
type packet struct {
	Source, Dest netip.Addr
	Knock        protocol.Knock // zero where the packet is no knock
	Kind         string         // in words: "8000/tcp", "icmp", "protocol 47"
	Start        []byte         // of the payload of a ping or a datagram: as much as a token has, or nil
}

// errShort says that a packet ends before its headers do.
var errShort = errors.New("the packet is cut short")

// Types of ICMP.
const (
	echoRequest4 = 8
	echoRequest6 = 128
)

// parsePacket reads the headers of an IP packet, whose end may be missing.
func parsePacket(b []byte) (packet, error) {
	if len(b) == 0 {
		return packet{}, errShort
	}
	switch version := b[0] >> 4; version {
	case 4:
		return parse4(b)
	case 6:
		return parse6(b)
	default:
		return packet{}, fmt.Errorf("no IP packet: version %d", version)
	}
}

func parse4(b []byte) (packet, error) {
	const least = 20
	size := int(b[0]&0xf) * 4
	if len(b) < least || size < least || len(b) < size {
		return packet{}, errShort
	}
	p := packet{Source: netip.AddrFrom4([4]byte(b[12:16])), Dest: netip.AddrFrom4([4]byte(b[16:20]))}
	if fragment := binary.BigEndian.Uint16(b[6:]) & 0x1fff; fragment > 0 {
		p.Kind = "a fragment"
		return p, nil
	}
	p.inside(b[9], b[size:])
	return p, nil
}

func parse6(b []byte) (packet, error) {
	const size = 40
	if len(b) < size {
		return packet{}, errShort
	}
	p := packet{Source: netip.AddrFrom16([16]byte(b[8:24])), Dest: netip.AddrFrom16([16]byte(b[24:40]))}
	next, rest := b[6], b[size:]
	for next == unix.IPPROTO_HOPOPTS || next == unix.IPPROTO_ROUTING || next == unix.IPPROTO_DSTOPTS || next == unix.IPPROTO_FRAGMENT {
		if len(rest) < 8 {
			p.Kind = fmt.Sprintf("protocol %d", next)
			return p, nil
		}
		length := (int(rest[1]) + 1) * 8
		if next == unix.IPPROTO_FRAGMENT {
			if binary.BigEndian.Uint16(rest[2:])&0xfff8 > 0 {
				p.Kind = "a fragment"
				return p, nil
			}
			length = 8
		}
		next, rest = rest[0], rest[min(length, len(rest)):]
	}
	p.inside(next, rest)
	return p, nil
}

// inside reads the protocol inside an IP packet, as far as it is there.
func (p *packet) inside(proto byte, b []byte) {
	p.Kind = fmt.Sprintf("protocol %d", proto)
	switch proto {
	case unix.IPPROTO_TCP, unix.IPPROTO_UDP:
		if len(b) < 4 {
			return
		}
		p.Knock = protocol.Knock{Proto: protocol.TCP, Port: binary.BigEndian.Uint16(b[2:])}
		if proto == unix.IPPROTO_UDP {
			p.Knock.Proto, p.Start = protocol.UDP, startOf(b)
		}
		p.Kind = p.Knock.String()
	case unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6:
		if len(b) < 1 {
			return
		}
		p.Kind = fmt.Sprintf("icmp of type %d", b[0])
		if (proto == unix.IPPROTO_ICMP && b[0] == echoRequest4) || (proto == unix.IPPROTO_ICMPV6 && b[0] == echoRequest6) {
			p.Knock, p.Start = protocol.Knock{Proto: protocol.ICMP}, startOf(b)
			p.Kind = p.Knock.String()
		}
	}
}

// startOf returns the start of the payload behind a header of UDP, or of a ping, which have the same size.
func startOf(b []byte) []byte {
	const header = 8
	if len(b) < header+protocol.TokenSize {
		return nil
	}
	return slices.Clone(b[header : header+protocol.TokenSize])
}

// report is one packet that a rule of ours has reported.
type report struct {
	Event   backend.Report
	Profile string
	Step    int
	Packet  packet
	User    backend.User // who has opened a signed profile, once the kernel was asked
}

// Attributes of linux/netfilter/nfnetlink_log.h.
const (
	nfulaPayload = 9
	nfulaPrefix  = 10
	nfulaSeq     = 12

	genHeader = 4 // struct nfgenmsg before the attributes
)

// logged is a message of the group, decoded.
type logged struct {
	report report
	ours   bool // a rule of ours has sent it, and its packet could be read
	seq    uint32
	hasSeq bool
}

// parseLogged reads a message of the kind NFULNL_MSG_PACKET.
func parseLogged(data []byte) (logged, error) {
	var l logged
	if len(data) < genHeader {
		return l, errShort
	}
	d, err := netlink.NewAttributeDecoder(data[genHeader:])
	if err != nil {
		return l, err
	}
	d.ByteOrder = binary.BigEndian
	var prefix string
	var payload []byte
	for d.Next() {
		switch d.Type() {
		case nfulaPrefix:
			prefix = strings.TrimRight(d.String(), "\x00")
		case nfulaPayload:
			payload = d.Bytes()
		case nfulaSeq:
			l.seq, l.hasSeq = d.Uint32(), true
		}
	}
	if err := d.Err(); err != nil {
		return l, err
	}
	r := &l.report
	if r.Event, r.Profile, r.Step, l.ours = backend.ParseLogPrefix(prefix); l.ours {
		r.Packet, err = parsePacket(payload)
		l.ours = err == nil // a notice is about a source, so the packet must be readable
	}
	return l, nil
}
