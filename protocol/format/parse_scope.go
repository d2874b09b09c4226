package format

import (
	"fmt"
	"net/netip"
	"strings"

	"knockkit/internal/tomldoc"
	"knockkit/protocol"
)

// scope reads for which packets the profile is.
func (a *parser) scope() {
	p, before := a.p, a.doc.Errors()
	p.Family = choose(a, "family", a.raw.Family, protocol.Both, protocol.IPv4, protocol.IPv6)
	p.Reply = choose(a, "reply", a.raw.Reply, protocol.ReplyContinue, protocol.ReplyAccept, protocol.ReplyDrop, protocol.ReplyReject)
	p.Closed = choose(a, "closed", a.raw.Closed, protocol.ClosedDrop, protocol.ClosedReject, protocol.ClosedContinue)
	p.From = a.prefixes(a.raw.From, "an empty list would let nobody in: leave `from` out for any source")
	p.To = a.prefixes(a.raw.To, "leave `to` out for any address of the host")
	if f := a.raw.Interface; f != nil {
		p.Interface = f.Value
		a.checkInterface(f)
	}
	p.Place = choose(a, "place", a.raw.Place, protocol.PlaceInput, protocol.PlacePrerouting)
	if p.Place == protocol.PlacePrerouting && p.Closed == protocol.ClosedContinue {
		a.doc.Error(a.raw.Place.At, `the gate would shut nobody out: closed is "continue"`,
			`set closed = "drop" or "reject", or leave `+"`place`"+` out`)
	}
	if a.doc.Errors() == before && !p.OpensIn(protocol.IPv4) && !p.OpensIn(protocol.IPv6) {
		a.doc.Error(a.nowhere(), "the profile cannot be opened from any address", "`family`, `from` and `to` have no address family in common")
	}
}

// nowhere is the key to name when no address can open the profile.
func (a *parser) nowhere() tomldoc.Span {
	if a.raw.From != nil {
		return a.raw.From.At
	}
	return a.raw.To.At // the family alone excludes nobody
}

// prefixes reads the prefixes of `from` or `to`, of which one at least must be
// of the profile's family.
func (a *parser) prefixes(f *tomldoc.Texts, emptyHint string) []netip.Prefix {
	var prefixes []netip.Prefix
	for _, item := range a.list(f, emptyHint) {
		p, err := parsePrefix(item.Value)
		if err != nil {
			a.text(item, err)
			continue
		}
		for _, other := range prefixes {
			if other.Overlaps(p) {
				a.doc.Error(item.At, fmt.Sprintf("%s and %s overlap", p, other), "the shorter prefix holds the other: remove the longer")
				break
			}
		}
		prefixes = append(prefixes, p)
	}
	if fam := a.p.Family; fam != protocol.Both && len(prefixes) > 0 && len(protocol.PrefixesIn(prefixes, fam)) == 0 {
		a.doc.Error(f.At, fmt.Sprintf("no prefix here is of the profile's family, %s", fam), "add one, or change `family`")
	}
	return prefixes
}

func parsePrefix(s string) (netip.Prefix, error) {
	p, err := protocol.ParsePrefix(s)
	switch {
	case err != nil:
		return p, wrong(s, "", `write an address and a length, as "198.51.100.0/24" or "2001:db8::/32"`, "%s is not an address prefix", tomldoc.Quote(s))
	case !strings.Contains(s, "/"):
		return p, wrong(s, "", fmt.Sprintf("write \"%s\"", p), "%s is an address without a prefix length", tomldoc.Quote(s))
	case strings.Contains(s, ":") && protocol.FamilyOf(p.Addr()) == protocol.IPv4:
		return p, wrong(s, "", "write IPv4 prefixes as \"198.51.100.0/24\"", "%s is an IPv4 prefix in the form of IPv6", tomldoc.Quote(s))
	case p != p.Masked():
		return p, wrong(s, "", didYouMean(p.Masked().String()), "%s has bits set after the first %d", tomldoc.Quote(s), p.Bits())
	}
	return p, nil
}

// checkInterface refuses names that the kernel refuses, and patterns, which iptables and nftables
// write differently.
func (a *parser) checkInterface(f *tomldoc.Field[string]) {
	name := f.Value
	odd := strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
	switch {
	case name == "":
		a.doc.Error(f.At, "the name of the interface is empty", "leave `interface` out for any")
	case len(name) > 15:
		a.doc.Error(f.At, fmt.Sprintf("the interface's name has %d bytes; the kernel's have at most 15", len(name)), "an interface's other names (altname) may be longer, and rules do not match them: write the one that `ip link` shows first")
	case strings.ContainsAny(name, "*+"):
		a.doc.Error(f.At, "an interface is given by its whole name, without patterns", "leave `interface` out and use `to` to choose addresses")
	case odd != "" || name[0] == '-' || name == "." || name == "..":
		a.doc.Error(f.At, fmt.Sprintf("%s is not the name of an interface", tomldoc.Quote(name)), `write it as "ip link" shows it, as "eth0"`)
	}
}
