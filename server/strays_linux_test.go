package server_test

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"knockkit/internal/lab"
	"knockkit/protocol"
)

// stray is a packet that is no event.
type stray struct {
	name   string
	packet []byte
}

// strays are packets from a source to a port that are no events, whatever the port
// means.
func (s *site) strays(src netip.Addr, port uint16) []stray {
	s.port += 100
	from, to := netip.AddrPortFrom(src, s.port), netip.AddrPortFrom(s.dest(src), port)
	all := []stray{
		{"an ack", lab.TCP(from, to, lab.FlagACK, nil)},
		{"a reset", lab.TCP(from, to, lab.FlagRST, nil)},
		{"a reset with ack", lab.TCP(from, to, lab.FlagRST|lab.FlagACK, nil)},
		{"a fin", lab.TCP(from, to, lab.FlagFIN, nil)},
		{"a syn+ack", lab.TCP(from, to, lab.FlagSYN|lab.FlagACK, nil)},
		{"a syn+fin", lab.TCP(from, to, lab.FlagSYN|lab.FlagFIN, nil)},
		{"a null scan", lab.TCP(from, to, 0, nil)},
		{"a christmas tree", lab.TCP(from, to, lab.FlagFIN|lab.FlagPSH|lab.FlagURG, nil)},
		{"data of no connection", lab.TCP(from, to, lab.FlagPSH|lab.FlagACK, []byte("hello"))},
		{"the first fragment of a datagram", firstFragment(from, to)},
		{"an error about a packet that nobody sent", unreachable(src, to)},
		{"an echo reply", echoReply(src, to.Addr())},
		{"an unknown protocol", unknown(src, to.Addr())},
	}
	for _, group := range s.groups(src) {
		all = append(all, stray{"a datagram to " + group.String(), lab.UDP(from, netip.AddrPortFrom(group, port), []byte("x"))})
	}
	if src.Is6() {
		all = append(all, stray{"a neighbour's question", solicitation(src, to.Addr())})
	}
	return all
}

// groups are destinations that are not the host alone: its broadcast address and
// multicast groups that every host is in.
func (s *site) groups(src netip.Addr) []netip.Addr {
	if src.Is6() {
		return []netip.Addr{netip.MustParseAddr("ff02::1")}
	}
	wire := s.host.Interfaces[0].Addr4
	broadcast := wire.Masked().Addr().As4()
	last := binary.BigEndian.Uint32(broadcast[:]) | (1<<(32-wire.Bits()) - 1)
	binary.BigEndian.PutUint32(broadcast[:], last)
	return []netip.Addr{netip.AddrFrom4(broadcast), netip.MustParseAddr("255.255.255.255"), netip.MustParseAddr("224.0.0.1")}
}

// ip is a header for what the lab's own builders do not build.
func ip(src, dst netip.Addr, proto layers.IPProtocol) (gopacket.SerializableLayer, gopacket.NetworkLayer) {
	if src.Is4() {
		h := &layers.IPv4{Version: 4, TTL: 64, Protocol: proto, SrcIP: src.AsSlice(), DstIP: dst.AsSlice()}
		return h, h
	}
	h := &layers.IPv6{Version: 6, HopLimit: 255, NextHeader: proto, SrcIP: src.AsSlice(), DstIP: dst.AsSlice()}
	return h, h
}

func serialize(parts ...gopacket.SerializableLayer) []byte {
	buf := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, parts...); err != nil {
		panic(err) // a mistake in this file
	}
	return buf.Bytes()
}

// firstFragment is the beginning of a datagram whose rest never comes.
func firstFragment(from, to netip.AddrPort) []byte {
	whole := lab.UDP(from, to, make([]byte, 64))
	if from.Addr().Is4() {
		h := &layers.IPv4{Version: 4, TTL: 64, Id: from.Port(), Protocol: layers.IPProtocolUDP, Flags: layers.IPv4MoreFragments,
			SrcIP: from.Addr().AsSlice(), DstIP: to.Addr().AsSlice()}
		return serialize(h, gopacket.Payload(whole[ipv4Header:ipv4Header+40]))
	}
	h := &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolIPv6Fragment,
		SrcIP: from.Addr().AsSlice(), DstIP: to.Addr().AsSlice()}
	fragment := []byte{byte(layers.IPProtocolUDP), 0, 0, 1, 0, 0, byte(from.Port() >> 8), byte(from.Port())} // offset 0, more follow
	return serialize(h, gopacket.Payload(append(fragment, whole[ipv6Header:ipv6Header+40]...)))
}

// unreachable says that a datagram of the host's did not arrive.
func unreachable(src netip.Addr, host netip.AddrPort) []byte {
	about := lab.UDP(host, netip.AddrPortFrom(src, 9), []byte("x"))
	if src.Is4() {
		h, _ := ip(src, host.Addr(), layers.IPProtocolICMPv4)
		code := layers.CreateICMPv4TypeCode(layers.ICMPv4TypeDestinationUnreachable, layers.ICMPv4CodePort)
		return serialize(h, &layers.ICMPv4{TypeCode: code}, gopacket.Payload(about))
	}
	code := layers.CreateICMPv6TypeCode(layers.ICMPv6TypeDestinationUnreachable, layers.ICMPv6CodePortUnreachable)
	return icmp6(src, host.Addr(), code, append(make([]byte, 4), about...))
}

func echoReply(src, dst netip.Addr) []byte {
	if src.Is4() {
		h, _ := ip(src, dst, layers.IPProtocolICMPv4)
		return serialize(h, &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(layers.ICMPv4TypeEchoReply, 0), Id: 7, Seq: 7})
	}
	return icmp6(src, dst, layers.CreateICMPv6TypeCode(layers.ICMPv6TypeEchoReply, 0), make([]byte, 4))
}

// solicitation asks who has the host's address.
func solicitation(src, target netip.Addr) []byte {
	body := append(make([]byte, 4), target.AsSlice()...)
	return icmp6(src, target, layers.CreateICMPv6TypeCode(layers.ICMPv6TypeNeighborSolicitation, 0), body)
}

func icmp6(src, dst netip.Addr, code layers.ICMPv6TypeCode, body []byte) []byte {
	h, network := ip(src, dst, layers.IPProtocolICMPv6)
	icmp := &layers.ICMPv6{TypeCode: code}
	if err := icmp.SetNetworkLayerForChecksum(network); err != nil {
		panic(err)
	}
	return serialize(h, icmp, gopacket.Payload(body))
}

// unknown is a packet of a protocol for experiments (RFC 3692).
func unknown(src, dst netip.Addr) []byte {
	h, _ := ip(src, dst, 253)
	return serialize(h, gopacket.Payload("x"))
}

func TestPacketsThatAreNoEventsNeitherAdvanceNorStartOver(t *testing.T) {
	web := []*protocol.Profile{parse(t, "web", `sequence = ["1001/tcp", "7/udp", "7/tcp", "1002/udp", "1003/tcp"]
open = ["80/tcp"]`)}
	gated(t, web, func(s *site, one, two netip.Addr) {
		knocks := sequence(web[0])
		for i, k := range knocks {
			s.send(one, k)
			next := uint16(80)
			if i+1 < len(knocks) {
				next = knocks[i+1].Port
			}
			for _, stray := range s.strays(one, next) {
				s.inject(stray.packet)
			}
		}
		s.expect("open", one, 80)

		for _, stray := range s.strays(two, 7) { // each one would be the next knock, if it were one
			s.send(two, tcp(1001), udp(7))
			s.inject(stray.packet)
			s.send(two, udp(1002), tcp(1003))
			if s.verdict(two, 80) != "silent" {
				s.t.Errorf("%s counted as a knock", stray.name)
			}
		}
	})
}

// TestAStrayPacketAtAGateIsShutOutForALeaseHolderToo has nobody listening: what the
// host answers would be its own.
func TestAStrayPacketAtAGateIsShutOutForALeaseHolderToo(t *testing.T) {
	for closed, want := range map[string]string{"drop": "silence", "reject": "rst"} {
		t.Run(closed, func(t *testing.T) {
			web := []*protocol.Profile{parse(t, "web", `sequence = ["1001/tcp", "1002/tcp"]
open = ["81-89/tcp"]
closed = "`+closed+`"`)}
			gated(t, web, func(s *site, holder, stranger netip.Addr) {
				s.send(holder, tcp(1001), tcp(1002))
				if got := s.answerTo(holder, tcp(85)); got != "rst+ack" {
					t.Fatalf("the lease holder's SYN gets %s: nobody listens there", got)
				}
				for _, src := range []netip.Addr{holder, stranger} {
					s.port++
					from, to := netip.AddrPortFrom(src, s.port), netip.AddrPortFrom(s.dest(src), 85)
					if got := s.answer(lab.TCP(from, to, lab.FlagACK, nil)); got != want {
						s.t.Errorf("an ack from %s gets %s, not %s", src, got, want)
					}
				}
				s.port++
				from, to := netip.AddrPortFrom(stranger, s.port), netip.AddrPortFrom(s.dest(stranger), 90)
				if got := s.answer(lab.TCP(from, to, lab.FlagACK, nil)); got != "rst" {
					s.t.Errorf("beside the gate an ack gets %s, not the host's own rst", got)
				}
			})
		})
	}
}
