package lab

import (
	"fmt"
	"net/netip"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"knockkit/protocol"
)

// The builders below return whole IP packets with right lengths and checksums, of
// the family of the addresses. They panic when source and destination are not of
// one family: that is a mistake in the test.

// SYN returns the first packet of a TCP connection.
func SYN(src, dst netip.AddrPort) []byte { return TCP(src, dst, FlagSYN, nil) }

// TCP returns a segment with any flags. Its sequence number is fixed, so that a
// second one like it looks like a retransmission.
func TCP(src, dst netip.AddrPort, flags Flags, payload []byte) []byte {
	return Segment(src, dst, flags, 1000, 2000, payload)
}

// Segment returns a segment of a conversation. ack counts with the flag ACK only.
func Segment(src, dst netip.AddrPort, flags Flags, seq, ack uint32, payload []byte) []byte {
	tcp := &layers.TCP{
		SrcPort: layers.TCPPort(src.Port()), DstPort: layers.TCPPort(dst.Port()),
		Seq: seq, Window: 64240,
		FIN: flags.Has(FlagFIN), SYN: flags.Has(FlagSYN), RST: flags.Has(FlagRST), PSH: flags.Has(FlagPSH),
		ACK: flags.Has(FlagACK), URG: flags.Has(FlagURG), ECE: flags.Has(FlagECE), CWR: flags.Has(FlagCWR),
	}
	if flags.Has(FlagACK) {
		tcp.Ack = ack
	}
	if flags.Has(FlagSYN) {
		tcp.Options = []layers.TCPOption{{OptionType: layers.TCPOptionKindMSS, OptionLength: 4, OptionData: []byte{0x05, 0xb4}}}
	}
	ip := header(src.Addr(), dst.Addr(), layers.IPProtocolTCP)
	must(tcp.SetNetworkLayerForChecksum(ip))
	return build(ip, tcp, gopacket.Payload(payload))
}

// UDP returns a datagram.
func UDP(src, dst netip.AddrPort, payload []byte) []byte {
	udp := &layers.UDP{SrcPort: layers.UDPPort(src.Port()), DstPort: layers.UDPPort(dst.Port())}
	ip := header(src.Addr(), dst.Addr(), layers.IPProtocolUDP)
	must(udp.SetNetworkLayerForChecksum(ip))
	return build(ip, udp, gopacket.Payload(payload))
}

// Echo returns an ICMP or ICMPv6 echo request.
func Echo(src, dst netip.Addr, id, seq uint16, payload []byte) []byte {
	if src.Is4() {
		icmp := &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(layers.ICMPv4TypeEchoRequest, 0), Id: id, Seq: seq}
		return build(header(src, dst, layers.IPProtocolICMPv4), icmp, gopacket.Payload(payload))
	}
	ip := header(src, dst, layers.IPProtocolICMPv6)
	icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(layers.ICMPv6TypeEchoRequest, 0)}
	must(icmp.SetNetworkLayerForChecksum(ip))
	return build(ip, icmp, &layers.ICMPv6Echo{Identifier: id, SeqNumber: seq}, gopacket.Payload(payload))
}

// ipLayer is what the IP layers of both families are to this package.
type ipLayer interface {
	gopacket.NetworkLayer
	gopacket.SerializableLayer
}

func header(src, dst netip.Addr, proto layers.IPProtocol) ipLayer {
	if src.Is4() != dst.Is4() {
		panic(fmt.Sprintf("packet from %v to %v: two address families", src, dst))
	}
	if src.Is4() {
		return &layers.IPv4{Version: 4, TTL: 64, Protocol: proto, Flags: layers.IPv4DontFragment, SrcIP: src.AsSlice(), DstIP: dst.AsSlice()}
	}
	return &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: proto, SrcIP: src.AsSlice(), DstIP: dst.AsSlice()}
}

func build(parts ...gopacket.SerializableLayer) []byte {
	buf := gopacket.NewSerializeBuffer()
	must(gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, parts...))
	return buf.Bytes()
}

// must is for errors that only a fault in this package can cause.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// Packet is what tests ask of an IP packet. Fields that its kind does not have are
// zero.
type Packet struct {
	Src, Dst netip.Addr
	TTL      uint8 // the hop limit of IPv6

	// Proto is ICMP for ICMPv6 too, 0 for anything that is not ICMP, TCP or UDP.
	Proto protocol.Proto

	SrcPort, DstPort uint16 // TCP, UDP
	Flags            Flags  // TCP
	SeqNum, AckNum   uint32 // TCP
	Window           uint16 // TCP

	ICMPType, ICMPCode uint8  // as on the wire: they differ between ICMP and ICMPv6
	ID, Seq            uint16 // of an echo request or reply

	// Payload is the data; of an ICMP error, the packet that it is about.
	Payload []byte
}

// String returns a line for messages: "198.51.100.2:4000 > 198.51.100.1:22 tcp rst+ack".
func (p Packet) String() string {
	switch p.Proto {
	case protocol.TCP:
		return fmt.Sprintf("%v > %v tcp %v", netip.AddrPortFrom(p.Src, p.SrcPort), netip.AddrPortFrom(p.Dst, p.DstPort), p.Flags)
	case protocol.UDP:
		return fmt.Sprintf("%v > %v udp %d bytes", netip.AddrPortFrom(p.Src, p.SrcPort), netip.AddrPortFrom(p.Dst, p.DstPort), len(p.Payload))
	case protocol.ICMP:
		return fmt.Sprintf("%v > %v icmp type %d code %d", p.Src, p.Dst, p.ICMPType, p.ICMPCode)
	}
	return fmt.Sprintf("%v > %v other", p.Src, p.Dst)
}

// Parse reads an IP packet. The result's Payload is part of data.
func Parse(data []byte) (Packet, error) {
	if len(data) == 0 {
		return Packet{}, fmt.Errorf("parse packet: empty")
	}
	first := layers.LayerTypeIPv4
	if data[0]>>4 == 6 {
		first = layers.LayerTypeIPv6
	}
	raw := gopacket.NewPacket(data, first, gopacket.NoCopy)
	var p Packet
	for _, layer := range raw.Layers() {
		if len(layer.LayerContents()) == 0 {
			break // cut short: listed, but not filled in
		}
		// Data of a known port is decoded further, which may find packets in packets.
		if _, echo := layer.(*layers.ICMPv6Echo); p.Proto == 0 || echo {
			p.read(layer)
		}
	}
	if failed := raw.ErrorLayer(); failed != nil && p.Proto == 0 {
		return Packet{}, fmt.Errorf("parse packet: %w", failed.Error())
	}
	return p, nil
}

func (p *Packet) read(layer gopacket.Layer) {
	switch l := layer.(type) {
	case *layers.IPv4:
		p.Src, p.Dst, p.TTL = addr(l.SrcIP), addr(l.DstIP), l.TTL
	case *layers.IPv6:
		p.Src, p.Dst, p.TTL = addr(l.SrcIP), addr(l.DstIP), l.HopLimit
	case *layers.TCP:
		p.Proto, p.SrcPort, p.DstPort = protocol.TCP, uint16(l.SrcPort), uint16(l.DstPort)
		p.Flags, p.SeqNum, p.AckNum, p.Window, p.Payload = flagsOf(l), l.Seq, l.Ack, l.Window, l.Payload
	case *layers.UDP:
		p.Proto, p.SrcPort, p.DstPort, p.Payload = protocol.UDP, uint16(l.SrcPort), uint16(l.DstPort), l.Payload
	case *layers.ICMPv4:
		p.Proto, p.ICMPType, p.ICMPCode = protocol.ICMP, l.TypeCode.Type(), l.TypeCode.Code()
		p.Payload = l.Payload
		if t := l.TypeCode.Type(); t == layers.ICMPv4TypeEchoRequest || t == layers.ICMPv4TypeEchoReply {
			p.ID, p.Seq = l.Id, l.Seq
		}
	case *layers.ICMPv6:
		p.Proto, p.ICMPType, p.ICMPCode = protocol.ICMP, l.TypeCode.Type(), l.TypeCode.Code()
		if len(l.Payload) >= 4 { // the layer ends before the last four bytes of the header
			p.Payload = l.Payload[4:]
		}
	case *layers.ICMPv6Echo:
		p.ID, p.Seq, p.Payload = l.Identifier, l.SeqNumber, l.Payload
	}
}

func addr(b []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(b) // the layer has checked the length
	return a
}

func flagsOf(l *layers.TCP) Flags {
	var f Flags
	for i, set := range []bool{l.FIN, l.SYN, l.RST, l.PSH, l.ACK, l.URG, l.ECE, l.CWR} {
		if set {
			f |= 1 << i
		}
	}
	return f
}
