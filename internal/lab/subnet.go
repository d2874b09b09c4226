package lab

import "net/netip"

// Each link has a subnet of its own: number n is 198.51.100.(16 × n)/28 and
// 2001:db8:0:n::/64. Member 1 to 14 of it has the address with that last number.
const (
	maxSubnets = 16
	maxMembers = 14
)

func member4(n, i int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(16*n + i)}), 28)
}

func member6(n, i int) netip.Prefix {
	a := [16]byte{0x20, 0x01, 0x0d, 0xb8}
	a[7], a[15] = byte(n), byte(i)
	return netip.PrefixFrom(netip.AddrFrom16(a), 64)
}

// Forged4 is where forged IPv4 sources come from: 10.9.0.0/16. Hosts on a [Link]
// or [Wire] send their answers to it over that.
func Forged4() netip.Prefix { return netip.MustParsePrefix("10.9.0.0/16") }

// Forged6 is the same for IPv6: 2001:db8:9::/48.
func Forged6() netip.Prefix { return netip.MustParsePrefix("2001:db8:9::/48") }

// ForgedAddr4 returns the i-th forged IPv4 source: 10.9.x.y for i from 0 to 65535.
func ForgedAddr4(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 9, byte(i >> 8), byte(i)})
}

// ForgedAddr6 returns the i-th forged IPv6 source, each in a /64 of its own:
// 2001:db8:9:i::1 for i from 0 to 65535.
func ForgedAddr6(i int) netip.Addr {
	a := Forged6().Addr().As16()
	a[6], a[7], a[15] = byte(i>>8), byte(i), 1
	return netip.AddrFrom16(a)
}
