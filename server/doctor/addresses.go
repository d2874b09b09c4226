package doctor

import (
	"net/netip"
	"strings"

	"knockkit/protocol"
)

// addresses is a range of them, both ends included.
type addresses struct {
	first, last netip.Addr
}

// parseAddresses reads "10.0.0.0/8", "10.0.0.1-10.0.0.9" and single addresses.
func parseAddresses(values []string) (all []addresses, ok bool) {
	for _, v := range values {
		if p, err := protocol.ParsePrefix(v); err == nil {
			all = append(all, addresses{p.Masked().Addr(), lastOf(p)})
			continue
		}
		from, to, _ := strings.Cut(v, "-")
		a, errA := netip.ParseAddr(from)
		b, errB := netip.ParseAddr(to)
		if errA != nil || errB != nil {
			return nil, false
		}
		all = append(all, addresses{a, b})
	}
	return all, len(all) > 0
}

// lastOf returns the last address of a prefix.
func lastOf(p netip.Prefix) netip.Addr {
	raw := p.Masked().Addr().AsSlice()
	for bit := p.Bits(); bit < len(raw)*8; bit++ {
		raw[bit/8] |= 0x80 >> (bit % 8)
	}
	a, _ := netip.AddrFromSlice(raw)
	return a
}

func (r addresses) contain(a netip.Addr) bool {
	return a.BitLen() == r.first.BitLen() && r.first.Compare(a) <= 0 && a.Compare(r.last) <= 0
}

// all reports whether the range is every address of its family.
func (r addresses) all() bool {
	return r.first.IsUnspecified() && r.last == lastOf(netip.PrefixFrom(r.first, 0))
}
