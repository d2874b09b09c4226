package server_test

import (
	"net/netip"
	"testing"

	"knockkit/internal/lab"
	"knockkit/protocol"
)

func TestACloseKnockEndsTheOwnLeaseAndNobodyElses(t *testing.T) {
	for _, kind := range []protocol.Knock{tcp(9001), udp(9001), ping} {
		t.Run(kind.String(), func(t *testing.T) {
			web := parse(t, "web", `sequence = ["1001/tcp", "1002/tcp"]
open = ["80/tcp"]
close = "`+kind.String()+`"`)
			gated(t, []*protocol.Profile{web}, func(s *site, one, other netip.Addr) {
				for _, src := range []netip.Addr{one, other} {
					s.send(src, tcp(1001), tcp(1002))
				}
				s.send(one, kind)
				s.expect("silent", one, 80)
				s.expect("open", other, 80)
				s.send(one, tcp(1001), tcp(1002))
				s.expect("open", one, 80)
			})
		})
	}
}

// neighbours are two sources in one /24 or /64, and one that is just outside of it.
func neighbours(family protocol.Family) (one, near, outside netip.Addr) {
	if family == protocol.IPv4 {
		return netip.MustParseAddr("10.9.7.1"), netip.MustParseAddr("10.9.7.254"), netip.MustParseAddr("10.9.8.1")
	}
	one = lab.ForgedAddr6(7)
	return one, one.Next(), lab.ForgedAddr6(8)
}

func TestALeaseOfAPrefixLetsTheNeighboursInAndAnyOfThemCanGiveItBack(t *testing.T) {
	wide := alone(t, "prefix = { ipv4 = 24, ipv6 = 64 }\nclose = \"999/tcp\"")
	gated(t, wide, func(s *site, forged, _ netip.Addr) {
		one, near, outside := neighbours(protocol.FamilyOf(forged))
		s.send(one, ping, tcp(7), tcp(8000))
		s.expect("open", one, 3306)
		s.expect("open", near, 3306)
		s.expect("silent", outside, 3306)
		s.send(outside, tcp(999))
		s.expect("open", one, 3306)
		s.send(near, tcp(999))
		s.expect("silent", one, 3306)
		s.expect("silent", near, 3306)
	})
}

func TestAPositionBelongsToOneAddressWhateverTheLeaseCovers(t *testing.T) {
	gated(t, alone(t, "prefix = { ipv4 = 24, ipv6 = 64 }"), func(s *site, forged, _ netip.Addr) {
		one, near, _ := neighbours(protocol.FamilyOf(forged))
		s.send(one, ping, tcp(7))
		s.send(near, tcp(8000))
		s.expect("silent", near, 3306)
		s.send(one, tcp(8000))
		s.expect("open", near, 3306)
	})
}
