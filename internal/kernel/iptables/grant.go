package iptables

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"knockkit/internal/kernel/backend"
	"knockkit/protocol"
)

// grant is a lease given by hand that ends at a time of its own, or is for a prefix. It is a rule in
// the profile's gate: an entry of a recency table has no end of its own, and covers as much as the
// others.
type grant struct {
	Profile string
	Holder  netip.Prefix
	Until   time.Time // whole seconds, the first after the lease; zero: no end
}

// dateForm is how the time match writes a second, in UTC. The second of --datestop still matches.
const dateForm = "2006-01-02T15:04:05"

// byHand ends the comment of such a rule. The holder follows where a lease of the profile covers
// less or more: the rule's own match may be narrower.
const byHand = ": granted by hand"

// match returns the rules for the sources that may come: the holder, or where `from` is narrower,
// the prefixes of `from` in it.
func (g grant) match(p *protocol.Profile) []rule {
	who := slices.DeleteFunc(slices.Clone(p.From), func(s netip.Prefix) bool { return !s.Overlaps(g.Holder) })
	if len(p.From) == 0 || backend.Inside(g.Holder, who) {
		who = []netip.Prefix{g.Holder}
	}
	origin, until := g.Profile+byHand, ""
	if g.Holder.Bits() != p.Prefix(protocol.FamilyOf(g.Holder.Addr())) {
		origin += " to " + g.Holder.String()
	}
	if !g.Until.IsZero() {
		until = "-m time --datestop " + g.Until.Add(-time.Second).UTC().Format(dateForm)
	}
	var rules []rule
	for _, from := range who {
		rules = append(rules, rule{prefix("-s", from), until, comment("%s", origin)})
	}
	return rules
}

// String is the record of it: "mysql 198.51.100.7/32 2030-01-01T00:00:00".
func (g grant) String() string {
	text := g.Profile + " " + g.Holder.String()
	if !g.Until.IsZero() {
		text += " " + g.Until.UTC().Format(dateForm)
	}
	return text
}

// parseGrant reads the record back.
func parseGrant(record string) (g grant, err error) {
	fields := strings.Fields(record)
	if len(fields) != 2 && len(fields) != 3 {
		return grant{}, fmt.Errorf("%q is no lease", record)
	}
	g.Profile = fields[0]
	if g.Holder, err = netip.ParsePrefix(fields[1]); err == nil && len(fields) == 3 {
		g.Until, err = time.Parse(dateForm, fields[2])
	}
	return g, err
}

// to reports whether it is the lease of that holder of the profile.
func (g grant) to(profile string, holder netip.Prefix) bool {
	return g.Profile == profile && g.Holder == holder
}

// current returns the grants that have not ended.
func current(grants []grant, now time.Time) []grant {
	return slices.DeleteFunc(slices.Clone(grants), func(g grant) bool { return !g.Until.IsZero() && !g.Until.After(now) })
}

// fitting returns the grants that the automaton's profiles still allow: not for less than the
// profile's prefix, and not for sources outside `from`.
func fitting(grants []grant, a *protocol.Automaton) []grant {
	return slices.DeleteFunc(grants, func(g grant) bool {
		return !slices.ContainsFunc(a.Profiles, func(p *protocol.Profile) bool {
			return p.Name == g.Profile && protocol.FamilyOf(g.Holder.Addr()) == a.Family && g.Holder.Bits() <= p.Prefix(a.Family) &&
				(len(p.From) == 0 || slices.ContainsFunc(p.From, g.Holder.Overlaps))
		})
	})
}

// changes are what a plan does to the leases of one family.
type changes struct {
	m      *member
	grants []grant
	before []write // leases that begin
	after  []write // leases that end
}

// Change gives leases and ends leases, bans and falls. Entries of tables are written without a text;
// a lease given by hand is a rule. Errors: why the record cannot be read, [backend.ErrNotInstalled],
// [backend.ErrUnsupported].
func (k *kernel) Change(give, end []backend.Source) (backend.Plan, error) {
	all := map[*member]*changes{}
	for _, m := range k.members {
		if m.unread != nil {
			return nil, m.unread
		}
		all[m] = &changes{m: m, grants: current(m.about.Grants, k.now)}
	}
	for _, s := range give {
		if err := k.give(all[k.member(s.Address)], s); err != nil {
			return nil, err
		}
	}
	for _, s := range end {
		if c := all[k.member(s.Address)]; c != nil {
			c.after = append(c.after, k.end(c, s)...)
		}
	}
	p := &plan{kernel: k, was: map[protocol.Family]*ruleset{}, rules: true}
	for _, m := range k.members {
		c := all[m]
		p.before, p.after = append(p.before, c.before...), append(p.after, c.after...)
		if slices.Equal(c.grants, current(m.about.Grants, k.now)) {
			continue
		}
		text, was, err := c.text()
		if err != nil {
			return nil, err
		}
		p.was[m.family] = was
		p.add(m.family, text)
	}
	return p, nil
}

// give writes a lease of the profile's own time into its tables, and any other among those given by
// hand. The holder's lease before that goes.
func (k *kernel) give(c *changes, s backend.Source) error {
	var p *protocol.Profile
	if c != nil {
		p = c.m.about.profile(s.Profile)
	}
	if p == nil || !p.In(c.m.family) {
		return fmt.Errorf("%s: profile %s: %w", protocol.FamilyOf(s.Address.Addr()), s.Profile, backend.ErrNotInstalled)
	}
	lease, shared := c.m.about.Leases[p.Name], c.m.about.Shared[p.Name]
	single := p.Prefix(c.m.family) == c.m.family.Bits()
	if lease == "" || shared == "" && single {
		return fmt.Errorf("%s: the record does not name the tables of the leases of %s: install it again: %w", c.m.family, p.Name, backend.ErrNotInstalled)
	}
	c.grants = slices.DeleteFunc(c.grants, func(g grant) bool { return g.to(p.Name, s.Address) })
	wide := s.Address.Bits() < p.Prefix(c.m.family)
	switch {
	case !wide && !s.ByHand && s.Unlimited == (p.Lease == 0) && (s.Unlimited || (p.Lease-s.Left).Abs() <= backend.SameTime):
		c.before = append(c.before, leaseWrites(lease, shared, s.Address.Addr())...)
	case p.Once:
		return backend.Unsupported("%s is for one connection: such a lease has no time of its own with iptables", p.Name)
	default:
		c.grants = append(c.grants, k.granted(s))
		if !wide { // else a lease of the profile's own time would outlast it
			c.after = append(c.after, write{lease, "-", s.Address.Addr()})
		}
	}
	return nil
}

// end takes a lease out of the rules and the tables, or a ban together with the falls that led to
// it.
func (k *kernel) end(c *changes, s backend.Source) []write {
	t := tables{d: dialect{c.m.family}}
	switch s.State {
	case backend.Banned:
		return []write{{t.banned().name, "-", s.Address.Addr()}, {t.fallen().name, "-", s.Address.Addr()}}
	case backend.Fallen:
		return []write{{t.fallen().name, "-", s.Address.Addr()}}
	}
	c.grants = slices.DeleteFunc(c.grants, func(g grant) bool { return g.to(s.Profile, s.Address) })
	p, lease := c.m.about.profile(s.Profile), c.m.about.Leases[s.Profile]
	if p == nil || lease == "" || s.Address.Bits() != p.Prefix(c.m.family) {
		return nil
	}
	return append(k.endUnlisted(c.m, p), write{lease, "-", s.Address.Addr()})
}

// endUnlisted ends the leases of a profile whose holders were pushed out of the shared table: no
// command lists them, and they would count again when another profile puts the holder into the
// shared table.
func (k *kernel) endUnlisted(m *member, p *protocol.Profile) []write {
	if !m.asksShared(p.Name) {
		return nil
	}
	shared := map[netip.Addr]bool{}
	for _, e := range k.recency[m.about.Shared[p.Name]] {
		shared[e.Addr] = true
	}
	var gone []write
	for _, e := range k.recency[m.about.Leases[p.Name]] {
		if !shared[e.Addr] {
			gone = append(gone, write{m.about.Leases[p.Name], "-", e.Addr})
		}
	}
	return gone
}

// text returns the transaction that changes the leases given by hand, and the rules before it, as
// the record has them. All other rules stay as they are, drifted or not.
func (c *changes) text() (text string, was *ruleset, err error) {
	a := c.m.automaton
	if a == nil {
		if a, err = protocol.Compile(c.m.about.Profiles, c.m.family); err != nil {
			return "", nil, err
		}
	}
	in := c.m.about.input(a)
	was = render(in)
	in.Grants = c.grants
	s := &saved{ours: was, guessed: true}
	for n, at := range bases {
		if len(at.chains(was)) > 0 {
			s.calls[n] = calls{first: 1, n: 1} // so that they are left alone
		}
	}
	return transaction(s, render(in)), was, nil
}

// Forget has nothing to do: no backend but nftables knows who has opened a lease.
func (k *kernel) Forget(backend.Planner) (backend.Plan, error) { return &plan{kernel: k}, nil }
