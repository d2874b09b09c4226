package nftables

import (
	"slices"
	"time"

	"knockkit/protocol"
	"knockkit/server/backend"
)

// rewriteLeases returns the elements that must change because a profile's lease
// has: a running lease gets the new length, counted from when it was granted. One
// that was given by hand for a time of its own has another length, and keeps it. So does one
// of `once`: used up in the moment of the commit, it would come back.
func (r *reading) rewriteLeases(want backend.Want, v Versions) []string {
	var lines []string
	for _, f := range protocol.Families() {
		for _, p := range profilesOf(want, f) {
			old, name := r.about.profile(p.Name), v.lease(p, f)
			if s := r.table.sets[name]; s != nil && old != nil && p.Lease != old.Lease && !p.Once {
				lines = append(lines, rewrite(name, s.elements, old.Lease, p)...)
			}
		}
	}
	return lines
}

func profilesOf(want backend.Want, f protocol.Family) []*protocol.Profile {
	if a := want.Of(f); a != nil {
		return a.Profiles
	}
	return nil
}

// versions returns those of the wanted profiles: the ones that are there, and for profiles
// whose leases do not stay one that nothing in the kernel has.
func (r *reading) versions(want backend.Want) Versions {
	v, sets := Versions{}, r.table.leaseSets()
	for _, f := range protocol.Families() {
		a := want.Of(f)
		if a == nil {
			continue
		}
		stay := backend.Staying(r.about.profiles, a)
		for _, p := range a.Profiles {
			key := holders(p, f)
			if v[key] = r.about.versions[key]; stay[p.Name] {
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
		for _, p := range profilesOf(want, f) {
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
			lines = append(lines, elementCommand("add", set, s.Address.Addr().String()+lasting))
		}
	}
	return lines, given
}

// rewrite gives the elements the time of p, where they have had the time was.
//
// To delete what is not there is refused, and an element may end meanwhile: it is added
// first.
func rewrite(set string, elements []element, was time.Duration, p *protocol.Profile) []string {
	will := p.Lease
	var lines []string
	add := func(verb string, e element, times string) {
		lines = append(lines, elementCommand(verb, set, e.Address.String()+times))
	}
	for _, e := range elements {
		if e.Timeout != was {
			continue
		}
		add("add", e, "")
		// When a lease without end was granted is not known: it begins now.
		left := will
		if was > 0 && will > 0 {
			left = will - (was - e.Expires)
		}
		add("delete", e, "")
		if left > 0 || will == 0 {
			add("add", e, times(will, left))
		}
	}
	return lines
}
