package lab

import (
	"fmt"
	"net/netip"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"knockkit/protocol"
)

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
