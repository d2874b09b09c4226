package lab

import (
	"fmt"
	"net/netip"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
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
