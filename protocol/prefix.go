package protocol

import (
	"fmt"
	"net/netip"
	"strings"
)

// A lease, a ban and a destination are of an address or of a prefix. Both are a
// [netip.Prefix]: an address is the prefix that holds nothing else.

// ParsePrefix reads "198.51.100.7", or "198.51.100.0/24" with whatever bits behind the
// length. IPv4 in IPv6 form becomes IPv4. An address with a zone is refused: rules know none.
func ParsePrefix(text string) (netip.Prefix, error) {
	if strings.Contains(text, "/") {
		p, err := netip.ParsePrefix(text)
		return UnmapPrefix(p), err
	}
	addr, err := netip.ParseAddr(text)
	if err == nil && addr.Zone() != "" {
		err = fmt.Errorf("%q has a zone", text)
	}
	if err != nil {
		return netip.Prefix{}, err
	}
	return UnmapPrefix(netip.PrefixFrom(addr, addr.BitLen())), nil
}

// PrefixText writes what ParsePrefix reads: a prefix that is one address as such.
func PrefixText(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// PrefixTexts writes several: "198.51.100.7, 2001:db8::/32".
func PrefixTexts(all []netip.Prefix) string {
	texts := make([]string, len(all))
	for i, p := range all {
		texts[i] = PrefixText(p)
	}
	return strings.Join(texts, ", ")
}

// UnmapPrefix returns an IPv4 prefix that is in IPv6 form as IPv4, any other as it is.
func UnmapPrefix(p netip.Prefix) netip.Prefix {
	const before = 96 // bits in front of the address
	if p.Addr().Is4In6() && p.Bits() >= before {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-before)
	}
	return p
}
