package lab

import (
	"encoding/binary"
	"net/netip"
	"reflect"
	"testing"

	"knockkit/protocol"
)

func TestBuiltPacketsSayWhatWasAskedAndHaveRightChecksums(t *testing.T) {
	a4, b4 := netip.MustParseAddr("198.51.100.2"), netip.MustParseAddr("198.51.100.1")
	a6, b6 := netip.MustParseAddr("2001:db8::2"), netip.MustParseAddr("2001:db8::1")
	for _, family := range []struct {
		name       string
		src, dst   netip.Addr
		echo, icmp uint8 // the type of an echo request, the protocol's number
	}{{"ipv4", a4, b4, 8, 1}, {"ipv6", a6, b6, 128, 58}} {
		src, dst := netip.AddrPortFrom(family.src, 4000), netip.AddrPortFrom(family.dst, 7)
		transport := Packet{Src: family.src, Dst: family.dst, TTL: 64, SrcPort: 4000, DstPort: 7, SeqNum: 1000, Window: 64240, Proto: protocol.TCP}
		syn, fin, datagram := transport, transport, transport
		syn.Flags, syn.Payload = FlagSYN, []byte{}
		fin.Flags, fin.AckNum, fin.Payload = FlagFIN|FlagACK, 2000, []byte("odd")
		datagram.Proto, datagram.SeqNum, datagram.Window, datagram.Payload = protocol.UDP, 0, 0, []byte("knock")
		echo := Packet{Src: family.src, Dst: family.dst, TTL: 64, Proto: protocol.ICMP, ICMPType: family.echo, ID: 77, Seq: 3, Payload: []byte("sixteen bytes...")}
		for _, test := range []struct {
			name   string
			packet []byte
			number uint8 // the IP protocol
			want   Packet
		}{
			{"syn", SYN(src, dst), 6, syn},
			{"any flags", TCP(src, dst, FlagFIN|FlagACK, []byte("odd")), 6, fin},
			{"udp", UDP(src, dst, []byte("knock")), 17, datagram},
			{"echo", Echo(family.src, family.dst, 77, 3, []byte("sixteen bytes...")), family.icmp, echo},
		} {
			t.Run(family.name+" "+test.name, func(t *testing.T) {
				got, err := Parse(test.packet)
				if err != nil {
					t.Fatal(err)
				}
				if !reflect.DeepEqual(got, test.want) {
					t.Errorf("parsed\n%+v, want\n%+v", got, test.want)
				}
				if sum := checksum(test.packet, test.number); sum != 0xffff {
					t.Errorf("checksums add up to %#x, want 0xffff", sum)
				}
			})
		}
	}
}

// checksum adds up the words under the transport's checksum, RFC 1071: 0xffff when
// the checksum in the packet is right.
func checksum(packet []byte, number uint8) uint16 {
	body, addresses := packet[20:], packet[12:20]
	if packet[0]>>4 == 6 {
		body, addresses = packet[40:], packet[8:40]
	}
	sum := uint32(0)
	add := func(b []byte) {
		for i := 0; i+1 < len(b); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(b[i:]))
		}
		if len(b)%2 == 1 {
			sum += uint32(b[len(b)-1]) << 8
		}
	}
	add(body)
	if number != 1 { // ICMP for IPv4 has no pseudo header
		add(addresses)
		sum += uint32(number) + uint32(len(body))
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return uint16(sum)
}

func TestAPacketInsideAPacketIsNotTakenForIt(t *testing.T) {
	// Port 4789 carries Ethernet frames (VXLAN), which the decoder would follow.
	src, dst := netip.MustParseAddrPort("198.51.100.2:4000"), netip.MustParseAddrPort("198.51.100.1:4789")
	frame := append([]byte{8, 0, 0, 0, 0, 0, 1, 0}, make([]byte, 12)...)
	frame = append(append(frame, 8, 0), SYN(netip.MustParseAddrPort("10.9.0.1:1"), netip.MustParseAddrPort("10.9.0.2:2"))...)
	got, err := Parse(UDP(src, dst, frame))
	if err != nil {
		t.Fatal(err)
	}
	if got.Proto != protocol.UDP || got.DstPort != 4789 || got.Src != src.Addr() {
		t.Errorf("parsed %v", got)
	}
}

func TestWhatIsNoPacketIsRefused(t *testing.T) {
	for name, data := range map[string][]byte{
		"empty":          {},
		"half a header":  {0x45, 0, 0, 40},
		"no version":     make([]byte, 40),
		"half IPv6":      append([]byte{0x60}, make([]byte, 20)...),
		"tcp cut short":  SYN(netip.MustParseAddrPort("10.9.0.1:1"), netip.MustParseAddrPort("10.9.0.2:2"))[:25],
		"echo cut short": Echo(netip.MustParseAddr("10.9.0.1"), netip.MustParseAddr("10.9.0.2"), 1, 1, nil)[:22],
	} {
		t.Run(name, func(t *testing.T) {
			if p, err := Parse(data); err == nil {
				t.Errorf("parsed as %v", p)
			}
		})
	}
}
