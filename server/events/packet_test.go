package events

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"knockkit/internal/lab"
	"knockkit/protocol"
)

func TestAPacketSaysWhatKindOfKnockItIs(t *testing.T) {
	src4, dst4 := netip.MustParseAddr("10.9.0.1"), netip.MustParseAddr("198.51.100.1")
	src6, dst6 := netip.MustParseAddr("2001:db8:9::1"), netip.MustParseAddr("2001:db8::1")
	at := netip.AddrPortFrom
	tcp, udp := protocol.Knock{Proto: protocol.TCP, Port: 8000}, protocol.Knock{Proto: protocol.UDP, Port: 53}
	cases := []struct {
		name   string
		packet []byte
		source netip.Addr
		knock  protocol.Knock
		kind   string
	}{
		{"tcp over IPv4", lab.SYN(at(src4, 1), at(dst4, 8000)), src4, tcp, "8000/tcp"},
		{"tcp over IPv6", lab.SYN(at(src6, 1), at(dst6, 8000)), src6, tcp, "8000/tcp"},
		{"udp over IPv4", lab.UDP(at(src4, 1), at(dst4, 53), nil), src4, udp, "53/udp"},
		{"udp over IPv6", lab.UDP(at(src6, 1), at(dst6, 53), nil), src6, udp, "53/udp"},
		{"echo request", lab.Echo(src4, dst4, 1, 1, nil), src4, protocol.Knock{Proto: protocol.ICMP}, "icmp"},
		{"echo request over IPv6", lab.Echo(src6, dst6, 1, 1, nil), src6, protocol.Knock{Proto: protocol.ICMP}, "icmp"},
		{"another icmp", append(lab.Echo(src4, dst4, 1, 1, nil)[:20:20], 3, 3, 0, 0), src4, protocol.Knock{}, "icmp of type 3"},
		{"headers that end early", lab.SYN(at(src4, 1), at(dst4, 8000))[:22], src4, protocol.Knock{}, "protocol 6"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p, err := parsePacket(c.packet)
			if err != nil || p.Source != c.source || p.Knock != c.knock || p.Kind != c.kind {
				t.Errorf("%+v, %v", p, err)
			}
		})
	}
}

func TestExtensionHeadersOfIPv6AreSteppedOver(t *testing.T) {
	src, dst := netip.MustParseAddr("2001:db8:9::1"), netip.MustParseAddr("2001:db8::1")
	plain := lab.SYN(netip.AddrPortFrom(src, 1), netip.AddrPortFrom(dst, 8000))
	with := append([]byte{}, plain[:40]...)
	with[6] = unix.IPPROTO_DSTOPTS
	with = append(with, unix.IPPROTO_TCP, 0, 1, 4, 0, 0, 0, 0) // eight bytes: next header, length 0, padding
	with = append(with, plain[40:]...)
	if p, err := parsePacket(with); err != nil || p.Kind != "8000/tcp" {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestWhatIsNoPacketIsAnError(t *testing.T) {
	for _, b := range [][]byte{nil, {0x45}, {0x60, 0}, {0x75, 0, 0}, append([]byte{0x41}, make([]byte, 40)...)} {
		if p, err := parsePacket(b); err == nil {
			t.Errorf("%x is %+v", b, p)
		}
	}
}
