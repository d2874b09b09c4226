package nftables

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"knockkit/protocol"
	"knockkit/server/backend"
)

// changes are elements that come and go, by set.
type changes map[string]*struct{ gone, come []string }

func (c changes) in(set string) *struct{ gone, come []string } {
	if c[set] == nil {
		c[set] = &struct{ gone, come []string }{}
	}
	return c[set]
}

// Change gives leases and ends leases, bans and falls.
//
// A lease for a time of its own, or for a wider prefix than the profile's, is in a set of
// its own: the next knock would change its end. Where there is no such set yet, the rules
// that ask for leases of the profile are changed too.
// Errors: [backend.ErrNotInstalled], why the record cannot be read.
func (r *reading) Change(give, end []backend.Source) (backend.Plan, error) {
	if r.unread != nil {
		return nil, r.unread
	}
	all, missing := changes{}, map[string]bool{}
	for _, s := range end {
		for _, set := range r.setsOf(s) {
			c := all.in(set)
			c.gone = append(c.gone, s.Address.Addr().String())
		}
	}
	for _, s := range give {
		p := r.about.profile(s.Profile)
		if p == nil {
			return nil, fmt.Errorf("profile %s: %w", s.Profile, backend.ErrNotInstalled)
		}
		f, addr := protocol.FamilyOf(s.Address.Addr()), s.Address.Addr().String()
		own, byHand := r.about.versions.lease(p, f), r.about.versions.given(p, f, s.Address.Bits())
		d := s.Left
		if s.Unlimited {
			d = 0
		}
		set := own
		if s.Address.Bits() < p.Prefix(f) || d != p.Lease && !p.Once {
			set = byHand
		}
		if r.table.sets[byHand] != nil {
			all.in(byHand).gone = append(all.in(byHand).gone, addr)
		}
		if s.Address.Bits() == p.Prefix(f) {
			all.in(own).gone = append(all.in(own).gone, addr)
		}
		all.in(set).come = append(all.in(set).come, addr+timeout(d))
		missing[set] = r.table.sets[set] == nil
	}
	maps.DeleteFunc(missing, func(_ string, is bool) bool { return !is })
	pl := &plan{generation: r.table.generation}
	if len(missing) > 0 {
		if err := r.addSets(pl, missing); err != nil {
			return nil, err
		}
	}
	for _, set := range slices.Sorted(maps.Keys(all)) {
		if c := all[set]; len(c.gone) > 0 {
			pl.main += lines(forget(set, c.gone...))
		}
		if c := all[set]; len(c.come) > 0 {
			pl.main += lines([]string{elementCommand("add", set, c.come...)})
		}
	}
	return pl, nil
}

// setsOf returns the sets that hold what is to end, or may.
func (r *reading) setsOf(s backend.Source) []string {
	f := digit(protocol.FamilyOf(s.Address.Addr()))
	var sets []string
	for name := range r.table.sets {
		lease, isLease := parseLeaseSet(name)
		family, isBan := banned(name)
		if s.State == backend.Open && isLease && lease.holders == f+"-"+s.Profile && lease.bits == s.Address.Bits() ||
			s.State != backend.Open && isBan && family == f {
			sets = append(sets, name)
		}
	}
	return sets
}

// addSets plans sets of leases given by hand that are not there yet, and the chains that
// ask them. All other rules stay as they are, with their marks in the seal: what of them has
// drifted still has.
func (r *reading) addSets(p *plan, missing map[string]bool) error {
	want, err := backend.Compile(r.about.profiles, r.about.policy)
	if err != nil {
		return err
	}
	in := r.about.input(want)
	before := Render(in).things()
	in.Given = maps.Clone(in.Given)
	maps.Copy(in.Given, missing)
	after := Render(in).things()
	had := map[thing]bool{}
	for _, x := range before {
		had[x] = true
	}
	p.main = removal(sealChain)
	var changed []thing
	for _, x := range after {
		if had[x] {
			continue
		}
		changed = append(changed, x)
		if x.kind == "chain" {
			p.main += fmt.Sprintf("add chain inet %[1]s %[2]s\nflush chain inet %[1]s %[2]s\n", TableName, x.name)
			p.sealed.chains = append(p.sealed.chains, x.name)
		}
	}
	p.main += tableOf(func(b *strings.Builder) {
		for _, x := range changed {
			b.WriteString(x.text)
		}
	})
	if marks := parseSeal(r.table, before); marks != nil {
		p.seal = func(t *table) string { return marks.patched(t.sealed(changed)).text(after) }
	}
	return nil
}
