//go:build linux

package lab_test

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
	"knockkit/protocol"
)

// parseAll reads packets that a host sent.
func parseAll(t *testing.T, packets [][]byte) []lab.Packet {
	t.Helper()
	var parsed []lab.Packet
	for _, raw := range packets {
		p, err := lab.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		parsed = append(parsed, p)
	}
	return parsed
}

func TestAForgedPacketIsAnsweredBeforeInjectReturns(t *testing.T) {
	h := labtest.NewHost(t, "h")
	w := labtest.Wire(t, h)
	labtest.Listen(t, h, "tcp", ":4000")
	for _, family := range []struct {
		name                   string
		forged, host           netip.Addr
		echoReply, unreachable uint8 // ICMP types
		noPort                 uint8 // ICMP code
	}{
		{"ipv4", lab.ForgedAddr4(1), h.Addr4, 0, 3, 3},
		{"ipv6", lab.ForgedAddr6(1), h.Addr6, 129, 1, 4},
	} {
		src := netip.AddrPortFrom(family.forged, 5000)
		open, closed := netip.AddrPortFrom(family.host, 4000), netip.AddrPortFrom(family.host, 4001)
		for _, test := range []struct {
			name   string
			packet []byte
			right  func(lab.Packet) bool
		}{
			{"open port", lab.SYN(src, open), func(p lab.Packet) bool {
				return p.Proto == protocol.TCP && p.Flags == lab.FlagSYN|lab.FlagACK && p.SrcPort == 4000
			}},
			{"closed port", lab.SYN(src, closed), func(p lab.Packet) bool {
				return p.Proto == protocol.TCP && p.Flags == lab.FlagRST|lab.FlagACK && p.SrcPort == 4001
			}},
			{"echo", lab.Echo(family.forged, family.host, 9, 4, []byte("data")), func(p lab.Packet) bool {
				return p.Proto == protocol.ICMP && p.ICMPType == family.echoReply && p.ID == 9 && p.Seq == 4 && string(p.Payload) == "data"
			}},
			{"closed udp port", lab.UDP(src, closed, []byte("data")), func(p lab.Packet) bool {
				about, err := lab.Parse(p.Payload)
				return p.Proto == protocol.ICMP && p.ICMPType == family.unreachable && p.ICMPCode == family.noPort &&
					err == nil && about.Proto == protocol.UDP && about.DstPort == 4001
			}},
		} {
			t.Run(family.name+" "+test.name, func(t *testing.T) {
				if err := w.Inject(test.packet); err != nil {
					t.Fatal(err)
				}
				packets, err := w.Drain()
				if err != nil {
					t.Fatal(err)
				}
				got := parseAll(t, packets)
				if len(got) != 1 || !test.right(got[0]) || got[0].Dst != family.forged {
					t.Errorf("host answered %+v", got)
				}
			})
		}
	}
}

func TestThousandsOfForgedPacketsArriveInOrder(t *testing.T) {
	const n = 5000
	h := labtest.NewHost(t, "h")
	w := labtest.Wire(t, h)
	c := labtest.ListenPacket(t, h, "udp4", ":4000")
	buf := make([]byte, 100)
	for i := range n {
		src := netip.AddrPortFrom(lab.ForgedAddr4(i), 5000)
		if err := w.Inject(lab.UDP(src, netip.AddrPortFrom(h.Addr4, 4000), binary.BigEndian.AppendUint32(nil, uint32(i)))); err != nil {
			t.Fatal(err)
		}
		if i%100 != 99 { // read before the socket's buffer is full
			continue
		}
		for want := i - 99; want <= i; want++ {
			if err := c.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
				t.Fatal(err)
			}
			size, from, err := c.ReadFrom(buf)
			if err != nil {
				t.Fatalf("packet %d: %v", want, err)
			}
			if got := binary.BigEndian.Uint32(buf[:size]); got != uint32(want) {
				t.Fatalf("packet %d arrived in the place of %d", got, want)
			}
			if got := from.(*net.UDPAddr).AddrPort().Addr().Unmap(); got != lab.ForgedAddr4(want) {
				t.Fatalf("packet %d came from %v", want, got)
			}
		}
	}
}

func TestAWireShowsWhatTheHostSendsAndNothingElse(t *testing.T) {
	h := labtest.NewHost(t, "h")
	w := labtest.Wire(t, h)
	c := labtest.ListenPacket(t, h, "udp", "0.0.0.0:0")
	if _, err := c.WriteTo([]byte("hello"), &net.UDPAddr{IP: w.Peer4.AsSlice(), Port: 4000}); err != nil {
		t.Fatal(err)
	}
	raw, err := w.Next(5 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	p, err := lab.Parse(raw)
	if err != nil || p.Proto != protocol.UDP || p.Src != h.Addr4 || p.Dst != w.Peer4 || string(p.Payload) != "hello" {
		t.Errorf("first packet is %v (%v), want the datagram", p, err)
	}
	if raw, err := w.Next(20 * time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("then came %x, %v, want nothing in time", raw, err)
	}
}
