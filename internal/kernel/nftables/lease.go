package nftables

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"knockkit/internal/kernel/backend"
	"knockkit/protocol"
)

// rewriteLeases returns the commands for profiles whose `lease` has changed: a running lease gets
// the new length, counted from when it was granted. A lease that was given by hand for a time of its
// own has another length, and keeps it. So does a lease of `once`: used up in the moment of the
// commit, it would come back.
//
// Nobody knows when a lease without end was granted. It begins now; but where an undo gives it an
// end, it may be one that is over, and goes.
func (r *reading) rewriteLeases(want backend.Want, v versions, undo bool) (all []string) {
	for _, f := range protocol.Families() {
		for _, p := range want.Of(f).Profiles {
			old, name := r.about.profile(p.Name), v.lease(p, f)
			s := r.table.sets[name]
			if s == nil || old == nil || !newTime(old, p) {
				continue
			}
			for _, e := range s.elements {
				if e.Timeout != old.Lease {
					continue
				}
				// To delete what is not there is refused, and an element may end meanwhile.
				addr := e.Address.String()
				all = append(all, elementCommand("add", name, addr), elementCommand("delete", name, addr))
				left := p.Lease
				switch {
				case old.Lease > 0 && p.Lease > 0:
					left -= old.Lease - e.Expires
				case undo:
					left = 0
				}
				if left > 0 || p.Lease == 0 {
					all = append(all, elementCommand("add", name, addr+times(p.Lease, left)))
				}
			}
		}
	}
	return all
}

// newTime reports whether leases get another time when one version of a profile replaces another.
func newTime(was, will *protocol.Profile) bool {
	return was.Lease != will.Lease && !(was.Once && will.Once)
}

// versions returns those of the wanted profiles: the installed ones where leases stay, else one that
// nothing in the kernel has.
func (r *reading) versions(want backend.Want) versions {
	v, taken := versions{}, map[setName]bool{}
	for _, s := range r.table.sets {
		taken[setName{key: s.is.key, version: s.is.version}] = true
	}
	for _, f := range protocol.Families() {
		stay := backend.LeasesStay(r.about.profiles, want.Of(f))
		for _, p := range want.Of(f).Profiles {
			key := leaseKey(p, f)
			if v[key] = r.about.versions[key]; stay[p.Name] {
				continue
			}
			for v[key] = 1; taken[setName{key: key, version: v[key]}]; v[key]++ {
			}
		}
	}
	return v
}

// carried returns the commands for leases of another backend, and the sets that they need: those for
// a prefix, or with more time left than the profile gives.
func carried(want backend.Want, v versions) (lines []string, given map[string]bool) {
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
			if bits != p.Prefix(f) || s.ByHand && !p.Once || !s.Unlimited && s.Left > p.Lease && p.Lease > 0 && !p.Once {
				set = v.given(p, f, bits)
				given[set] = true
			}
			lines = append(lines, elementCommand("add", set, s.Address.Addr().String()+lasting))
		}
	}
	return lines, given
}

// Change gives leases and ends leases, bans and falls.
//
// A lease for a time of its own, or for a wider prefix than the profile's, is in a set of its own,
// since the next knock would change its end. Where that set is not there yet, the rules that ask for
// leases of the profile are changed too. Errors: [backend.ErrNotInstalled].
func (r *reading) Change(give, end []backend.Source) (backend.Plan, error) {
	gone, come, missing := map[string][]string{}, map[string][]string{}, map[string]bool{} // by set
	parts := r.parts()
	for _, s := range end {
		if len(s.Users) > 0 {
			r.endParts(s, gone, come)
			continue
		}
		for _, set := range r.setsOf(s) {
			gone[set] = append(gone[set], s.Address.Addr().String())
		}
		if s.State == backend.Open {
			for _, x := range parts[leaseID{s.Profile, s.Address}] {
				gone[x.set] = append(gone[x.set], x.text())
			}
		}
	}
	for _, s := range give {
		p := r.about.profile(s.Profile)
		if p == nil {
			return nil, fmt.Errorf("profile %s: %w", s.Profile, cmp.Or(r.unread, backend.ErrNotInstalled))
		}
		f, addr := protocol.FamilyOf(s.Address.Addr()), s.Address.Addr().String()
		own, byHand := r.about.versions.lease(p, f), r.about.versions.given(p, f, s.Address.Bits())
		lasts, wider := s.Left.Truncate(time.Millisecond), s.Address.Bits() < p.Prefix(f)
		switch {
		case s.Unlimited:
			lasts = 0
		case lasts == 0:
			lasts = p.Lease
		}
		set, lasting := own, timeout(lasts)
		switch {
		case wider || lasts != p.Lease && !p.Once && (s.ByHand || lasts == 0 || lasts > p.Lease):
			set = byHand
		case !s.ByHand:
			if lasts != p.Lease {
				lasting = times(p.Lease, lasts)
			}
			for _, x := range parts[leaseID{s.Profile, s.Address}] {
				gone[x.set] = append(gone[x.set], x.text())
			}
		}
		for _, had := range []string{own, byHand} {
			if r.table.sets[had] != nil && (had == byHand || !wider) {
				gone[had] = append(gone[had], addr)
			}
		}
		come[set] = append(come[set], addr+lasting)
		if set == byHand && r.table.sets[set] == nil {
			missing[set] = true
		}
	}
	pl := r.elementsOnly("")
	if len(missing) > 0 {
		if err := r.addSets(pl, missing); err != nil {
			return nil, err
		}
	}
	for _, set := range slices.Sorted(maps.Keys(gone)) { // added first, since they may not be there
		addrs := slices.Compact(slices.Sorted(slices.Values(gone[set])))
		pl.main += lines([]string{elementCommand("add", set, addrs...), elementCommand("delete", set, addrs...)})
	}
	for _, set := range slices.Sorted(maps.Keys(come)) {
		pl.main += lines([]string{elementCommand("add", set, come[set]...)})
	}
	pl.main += lines(r.carriedParts(give, func(s backend.Source) *protocol.Profile { return r.about.profile(s.Profile) }, r.about.signedNumbers))
	return pl, nil
}

// setsOf returns the sets that may have the element that is to end.
func (r *reading) setsOf(s backend.Source) (sets []string) {
	f := digit(protocol.FamilyOf(s.Address.Addr()))
	for name, set := range r.table.sets {
		ends := set.is.key == f && (set.is.what == bannedPrefix || set.is.what == fallPrefix)
		if s.State == backend.Open {
			ends = set.is.leases() && set.is.key == f+"-"+s.Profile && set.is.bits == s.Address.Bits()
		}
		if ends {
			sets = append(sets, name)
		}
	}
	return sets
}

// addSets plans sets of leases given by hand, and the chains that ask them. All other rules stay as
// they are, with their marks in the seal: what has drifted of them still has.
func (r *reading) addSets(p *plan, missing map[string]bool) error {
	want, err := backend.Compile(r.about.profiles, r.about.policy)
	if err != nil {
		return err
	}
	in := r.about.with(want)
	before := render(in)
	in.given = maps.Clone(in.given)
	maps.Copy(in.given, missing)
	after, had := render(in), before.byName()
	p.main = removal(sealChain)
	var changed ruleset
	for _, x := range after {
		if old := had[x.String()]; old != nil && old.equal(x) {
			continue
		}
		changed = append(changed, x)
		if x.kind == chainKind {
			p.main += lines([]string{objectCommand("add", chainKind, x.name), objectCommand("flush", chainKind, x.name)})
			p.sealed.chains = append(p.sealed.chains, x.name)
		}
	}
	p.main += changed.text()
	if marks := parseSeal(r.table, before); marks != nil {
		p.seal = func(t *table) string {
			maps.Copy(marks, t.sealed(changed))
			return marks.text(after)
		}
	}
	return nil
}
