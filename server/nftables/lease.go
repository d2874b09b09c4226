package nftables

import (
	"slices"
	"time"

	"knockkit/protocol"
	"knockkit/server/backend"
)

// aboutToEnd is a time in which a commit may be planned and done.
const aboutToEnd = 2 * time.Second

// rewriteLeases returns the elements that must change because a profile's lease
// has: a running lease gets the new length, counted from when it was granted. One
// that was given by hand for a time of its own has another length, and keeps it.
func rewriteLeases(was *Listing, profiles []*protocol.Profile, want backend.Want, v Versions) []string {
	var lines []string
	for _, old := range profiles {
		for _, f := range protocol.Families() {
			a := want.Of(f)
			if a == nil {
				continue
			}
			for _, p := range a.Profiles {
				if p.Name != old.Name || p.Lease == old.Lease {
					continue
				}
				if s := was.Set(v.lease(p, f)); s != nil {
					lines = append(lines, rewrite(s, old.Lease, p)...)
				}
			}
		}
	}
	return lines
}

// versions returns those of the wanted profiles: the ones that are there, and for profiles
// whose leases do not stay one that nothing in the kernel has.
func versions(was *Listing, about *Installed, want backend.Want) Versions {
	v, sets := Versions{}, leaseSets(was)
	for _, f := range protocol.Families() {
		a := want.Of(f)
		if a == nil {
			continue
		}
		stay := backend.Staying(about.Profiles, a)
		for _, p := range a.Profiles {
			key := holders(p, f)
			if v[key] = about.Versions[key]; stay[p.Name] {
				continue
			}
			for v[key] = 1; slices.ContainsFunc(sets[key], func(s leaseSet) bool { return s.version == v[key] }); v[key]++ {
			}
		}
	}
	return v
}

// carried returns the elements of leases that another backend has granted, and the sets
// that those need which are for a prefix, or have more left than the profile's own time.
func carried(want backend.Want, v Versions) (lines []string, given map[string]bool) {
	given = map[string]bool{}
	for _, s := range want.Carried {
		f := protocol.FamilyOf(s.Address.Addr())
		for _, p := range want.Of(f).Profiles {
			if p.Name != s.Profile || s.State != backend.Open || s.Address.Bits() > p.Prefix(f) {
				continue
			}
			set, lasting := v.lease(p, f), ""
			if !s.Unlimited {
				left := max(s.Left.Truncate(time.Millisecond), time.Millisecond)
				lasting = times(max(p.Lease, left), left)
			}
			bits := s.Address.Bits()
			if bits != p.Prefix(f) || !s.Unlimited && s.Left > p.Lease && p.Lease > 0 && !p.Once {
				set = v.given(p, f, bits)
				given[set] = true
			}
			lines = append(lines, element("add", set, s.Address.Addr().String()+lasting))
		}
	}
	return lines, given
}

// rewrite gives the elements the time of p, where they have had the time was.
//
// To delete what is not there is refused, and an element may end meanwhile: it is added
// first. A lease of `once` that is used up meanwhile would come back so; there the kernel
// may refuse, and the commit is planned anew.
func rewrite(s *ListedSet, was time.Duration, p *protocol.Profile) []string {
	will := p.Lease
	var lines []string
	for _, e := range s.Elements {
		if e.Timeout != was || p.Once && was > 0 && e.Expires < aboutToEnd {
			continue
		}
		if !p.Once {
			lines = append(lines, element("add", s.Name, e.Key))
		}
		// When a lease without end was granted is not known: it begins now.
		left := will
		if was > 0 && will > 0 {
			left = will - (was - e.Expires)
		}
		lines = append(lines, element("delete", s.Name, e.Key))
		if left > 0 || will == 0 {
			lines = append(lines, element("add", s.Name, e.Key+times(will, left)))
		}
	}
	return lines
}
