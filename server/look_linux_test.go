package server_test

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"

	"knockkit/protocol"
)

// look is what a scanner sees of the host's answer to a new flow: every byte of
// every packet that comes back, but for what differs between any two answers (see
// blank). Nothing at all is "silence".
func (s *site) look(src netip.Addr, k protocol.Knock) string {
	s.t.Helper()
	s.answers()
	if err := s.wire.Inject(s.packet(src, k)); err != nil {
		s.t.Fatal(err)
	}
	raw, err := s.wire.Drain()
	if err != nil {
		s.t.Fatal(err)
	}
	if len(raw) == 0 {
		return "silence"
	}
	var b strings.Builder
	for _, packet := range raw {
		blank(packet)
		fmt.Fprintf(&b, "%s\n", hex.Dump(packet))
	}
	return b.String()
}

// Offsets are those of RFC 791, 8200, 9293, 768, 792 and 4443.
const (
	ipv4Header, ipv6Header = 20, 40
	icmpHeader             = 8
)

// blank zeroes the fields of an IP packet that no two flows share: IP identifiers
// and labels, ports, the numbers of TCP and of an echo, and the checksums over them. What an
// ICMP error quotes is blanked likewise.
func blank(packet []byte) {
	if len(packet) < ipv4Header {
		return
	}
	proto, body := packet[9], packet[min(ipv4Header, len(packet)):]
	if packet[0]>>4 == 6 {
		proto, body = packet[6], packet[min(ipv6Header, len(packet)):]
		packet[1] &= 0xf0
		zero(packet, 2, 4) // flow label
	} else {
		zero(packet, 4, 6)   // identification
		zero(packet, 10, 12) // header checksum
	}
	switch proto {
	case 6:
		zero(body, 0, 12)  // ports, sequence and acknowledgment numbers
		zero(body, 16, 18) // checksum
	case 17:
		zero(body, 0, 4) // ports
		zero(body, 6, 8) // checksum
	case 1, 58:
		if len(body) < icmpHeader {
			return
		}
		zero(body, 2, 4) // checksum
		switch body[0] {
		case 0, 8, 128, 129: // echo
			zero(body, 4, 8) // identifier and sequence number
		default:
			blank(body[icmpHeader:])
		}
	}
}

func zero(b []byte, from, to int) {
	if to <= len(b) {
		clear(b[from:to])
	}
}
