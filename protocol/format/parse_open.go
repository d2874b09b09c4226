package format

import (
	"fmt"
	"slices"

	"knockkit/internal/tomldoc"
	"knockkit/protocol"
)

// maxList is how long a list of ports or prefixes may be: longer than anybody writes, and short
// enough to compare each item with each.
const maxList = 128

// opens reads the ports, and refuses those that the profile itself knocks on: a packet would be a
// knock and a connection.
func (a *parser) opens() {
	if !a.raw.has("open") {
		a.doc.Error(tomldoc.Span{}, "the profile opens nothing", `say which ports the knocks open, as open = ["3306/tcp"]`)
	}
	for _, item := range a.list(a.raw.Open, `say which ports the knocks open, as ["3306/tcp"]`) {
		r, err := ParsePortRange(item.Value)
		if err != nil {
			a.text(item, err)
			continue
		}
		for i, other := range a.p.Open {
			if both, ok := r.Intersect(other); ok {
				line, _, _, _ := a.doc.Locate(a.open[i])
				a.doc.Error(item.At, fmt.Sprintf("%s is opened twice: %s in line %d has it too", both, other, line), "remove it from one of the two")
				break
			}
		}
		a.p.Open, a.open = append(a.p.Open, r), append(a.open, item.At)
	}
	for i, s := range a.p.Sequence {
		if a.p.Opens(s.Knock) {
			a.doc.Error(a.step[i], fmt.Sprintf("%s is a knock and also a port that the profile opens", s.Knock), "knock on a port that no profile opens")
		}
	}
	if s := a.p.Signed; s != nil && a.p.Opens(s.Carrier) {
		a.doc.Error(a.raw.Signed.Carrier.At, fmt.Sprintf("%s carries the token and is also a port that the profile opens", s.Carrier), "choose a carrier that no profile opens")
	}
}

// list returns the items of a list, which must not be empty when it is set.
func (a *parser) list(f *tomldoc.Texts, emptyHint string) []tomldoc.Field[string] {
	switch {
	case f == nil:
		return nil
	case len(f.Value) == 0:
		a.doc.Error(f.At, "the list is empty", emptyHint)
	case len(f.Value) > maxList:
		a.doc.Error(f.At, fmt.Sprintf("the list has %d items; at most %d are possible", len(f.Value), maxList), "")
		return f.Value[:maxList]
	}
	return f.Value
}

// lease reads how long the ports stay open.
func (a *parser) lease() {
	a.p.Lease = a.time(a.raw.Lease, protocol.DefaultLease, protocol.MaxLease)
	a.p.Renew, a.p.Once, a.p.Cut = or(a.raw.Renew, false), or(a.raw.Once, false), or(a.raw.Cut, false)
	if a.p.Cut && a.p.Once {
		a.doc.Error(a.raw.Cut.Key, "`cut` and `once` contradict each other", "the first connection uses the lease up, and would end with it: remove one of the two")
	}
	if a.p.Renew && a.p.Once {
		a.doc.Error(a.raw.Renew.Key, "`renew` and `once` contradict each other", "the first connection cannot both use the lease up and start it again: remove one of the two")
	}
	a.p.Local = !or(a.raw.Fleet, true)
	a.p.PrefixIPv4, a.p.PrefixIPv6 = protocol.IPv4.Bits(), protocol.IPv6.Bits()
	if raw := a.raw.Prefix; raw != nil {
		a.p.PrefixIPv4 = a.between(raw.IPv4, 1, protocol.IPv4.Bits(), protocol.IPv4.Bits())
		a.p.PrefixIPv6 = a.between(raw.IPv6, 1, protocol.IPv6.Bits(), protocol.IPv6.Bits())
	}
}

func (a *parser) between(f *tomldoc.Field[int64], least, most, unset int) int {
	if f == nil {
		return unset
	}
	if f.Value < int64(least) || f.Value > int64(most) {
		a.doc.Error(f.At, fmt.Sprintf("%d is not between %d and %d", f.Value, least, most), "")
	}
	return int(f.Value)
}

// closing reads the knock that gives a lease back.
func (a *parser) closing() {
	f := a.raw.Close
	if f == nil {
		return
	}
	k, err := ParseKnock(f.Value)
	if err != nil {
		a.text(*f, err)
		return
	}
	a.p.Close = &k
	step := slices.IndexFunc(a.p.Sequence, func(s protocol.Step) bool { return s.Knock == k })
	switch {
	case step >= 0:
		a.doc.Error(f.At, fmt.Sprintf("%s closes the profile and is also knock %d of its sequence", k, step+1), "close with a knock that is in no sequence")
	case a.p.Signed != nil && a.p.Signed.Carrier == k:
		a.doc.Error(f.At, fmt.Sprintf("%s closes the profile and also carries its token", k), "close with another knock")
	case a.p.Opens(k):
		a.doc.Error(f.At, fmt.Sprintf("%s closes the profile and is also a port that it opens", k), "every connection would give the lease back: close with a knock on another port")
	}
}
