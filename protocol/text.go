package protocol

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// knocks counts in words: "knock", "2 knocks".
func knocks(n int) string {
	if n == 1 {
		return "knock"
	}
	return fmt.Sprintf("%d knocks", n)
}

// seconds writes a time limit as a profile does: "10s", "no limit" for 0.
func seconds(d time.Duration) string {
	if d == 0 {
		return "without limit"
	}
	return fmt.Sprintf("%ds", int64(d/time.Second))
}

// String names the step as people count: "mysql 2/3".
func (u Use) String() string {
	return fmt.Sprintf("%s %d/%d", u.Profile.Name, u.Step, len(u.Profile.Sequence))
}

// StateName says in whose sequences the state is, and where: "mysql 1/3, web 1/4".
// The root is "start".
func (a *Automaton) StateName(i int) string {
	if i == Root {
		return "start"
	}
	names := make([]string, len(a.States[i].Users))
	for j, u := range a.States[i].Users {
		names[j] = u.String()
	}
	return strings.Join(names, ", ")
}

// A lease, a ban and a destination are for an address or a prefix. Both are a [netip.Prefix]: an address
// is the prefix of its full length.

// ParsePrefix reads "198.51.100.7" or "198.51.100.0/24", with any bits behind the length. IPv4 in
// IPv6 form becomes IPv4. It fails for an address with a zone: rules know none.
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

// PrefixText writes what ParsePrefix reads: a single address without its length.
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

// FormatDuration writes a length of time in the largest unit that leaves no
// rest, as a profile does: "10s", "90m", "1h", "0".
func FormatDuration(d time.Duration) string {
	for _, u := range []struct {
		size time.Duration
		name string
	}{{time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}, {time.Millisecond, "ms"}} {
		if d != 0 && d%u.size == 0 {
			return strconv.FormatInt(int64(d/u.size), 10) + u.name
		}
	}
	if d == 0 {
		return "0"
	}
	return d.String()
}
