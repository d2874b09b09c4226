package iptables

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"knockkit/internal/kernel/backend"
	"knockkit/protocol"
)

// plan is what a commit does.
type plan struct {
	kernel *kernel // that it was made for
	before []write // before the texts
	texts  []backend.Text
	after  []write
	was    map[protocol.Family]*ruleset // the rules that a text that fails is undone to
	rules  bool                         // rules of ours are there afterwards
	drops  bool                         // a recency table goes: its entries could not be put back
}

// Texts returns what the host's tools are fed with.
func (p *plan) Texts() []backend.Text { return p.texts }

// write adds ("+") an address to a recency table, or takes it out ("-").
type write struct {
	table, op string
	addr      netip.Addr
}

// Plan makes the wanted profiles the installed ones: one transaction for each family, after those
// that make many tables in their order. Names of tables and leases given by hand are kept where the
// leases stay.
func (k *kernel) Plan(want backend.Want) (backend.Plan, error) {
	target := map[protocol.Family]*ruleset{}
	for _, m := range k.members {
		if m.mixed != nil {
			return nil, m.mixed
		}
		target[m.family] = render(k.wanted(m, want))
	}
	p, err := k.replace(target)
	if err != nil {
		return nil, err
	}
	for _, m := range k.members {
		t := target[m.family]
		if t.empty() {
			continue
		}
		p.before = append(p.before, k.ended(m, t.names.limits(want.Policy))...)
		p.after = append(p.after, carriedOnce(want, t.names)...)
	}
	return p, nil
}

// wanted returns what the rules of a family are made from.
func (k *kernel) wanted(m *member, want backend.Want) input {
	is := m.about
	if m.unread != nil { // nobody knows which table had which position, and what leases were for
		is = &about{Tables: m.about.Tables}
	}
	a := want.Of(m.family)
	stay := backend.LeasesStay(is.Profiles, a)
	in := input{Automaton: a, Policy: want.Policy, Positions: is.Positions, Shared: is.Shared, Leases: map[string]string{}, Taken: k.taken(m)}
	for profile, table := range is.Leases {
		if stay[profile] {
			in.Leases[profile] = table
		}
	}
	kept := slices.DeleteFunc(current(is.Grants, k.now), func(g grant) bool { return !stay[g.Profile] })
	in.Grants = fitting(append(kept, k.carried(want)...), a)
	if want.Trial {
		in.Spare = is.Tables
	}
	return in
}

// taken lists the names that no new table may have: those of all tables that our rules may write,
// and where none of our rules is there, those of tables with an entry, which a rule of somebody
// else's keeps. A chain KNOCKD-ABOUT alone has written nothing ([primed]).
func (k *kernel) taken(m *member) []string {
	writes := m.saved != nil && slices.ContainsFunc(m.saved.ours.Chains, func(c *chain) bool { return c.Name != chainAbout })
	var names []string
	for name, entries := range k.recency {
		if strings.HasSuffix(name, suffix(m.family)) && (writes || len(entries) > 0) {
			names = append(names, name)
		}
	}
	return names
}

// carried returns the leases of another backend as leases given by hand: an entry of a recency table
// has no end of its own. Leases of `once` are left to [carriedOnce]: such a rule lets in more than
// one connection.
func (k *kernel) carried(want backend.Want) []grant {
	var grants []grant
	for _, s := range want.Carried {
		if s.State == backend.Open && !want.Once(s) {
			grants = append(grants, k.granted(s))
		}
	}
	return grants
}

// granted is a lease for a time of its own.
func (k *kernel) granted(s backend.Source) grant {
	g := grant{Profile: s.Profile, Holder: s.Address}
	if !s.Unlimited {
		g.Until = k.now.Add(s.Left).Round(time.Second)
	}
	return g
}

// carriedOnce writes the leases of `once` of another backend into their tables, for the profile's
// own time.
func carriedOnce(want backend.Want, t *tables) []write {
	var all []write
	for _, s := range want.Carried {
		if s.State != backend.Open || !want.Once(s) || protocol.FamilyOf(s.Address.Addr()) != t.d.family {
			continue
		}
		if p := protocol.Find(t.automata.Profiles, s.Profile); p != nil && p.Prefix(t.d.family) == s.Address.Bits() {
			all = append(all, leaseWrites(t.leases[p.Name], t.shared[p.Name], s.Address.Addr())...)
		}
	}
	return all
}

// leaseWrites write a lease of the profile's own time, first into the table that the gate asks
// first. shared is "" where the profile has no such table.
func leaseWrites(lease, shared string, addr netip.Addr) []write {
	own := write{lease, "+", addr}
	if shared == "" {
		return []write{own}
	}
	return []write{{shared, "+", addr}, own}
}

// replace plans the rulesets of both families, or none.
func (k *kernel) replace(target map[protocol.Family]*ruleset) (*plan, error) {
	p := &plan{kernel: k, was: map[protocol.Family]*ruleset{}}
	for _, m := range k.members {
		if err := m.saved.refuseForeign(target[m.family]); err != nil {
			return nil, err
		}
		p.was[m.family] = m.saved.ours
		p.rules = p.rules || !target[m.family].empty()
		p.drops = p.drops || dropsTable(m.about, target[m.family])
	}
	order := slices.Clone(k.members)
	if primed(p.was, target) {
		// All of them are in the order of their heat when IPv6's rules have made the rest.
		p.add(protocol.IPv6, target[protocol.IPv6].primer(hot))
		p.add(protocol.IPv4, target[protocol.IPv4].primer(warm))
		slices.Reverse(order)
	}
	for _, m := range order {
		p.add(m.family, transaction(m.saved, target[m.family]))
	}
	return p, nil
}

func (p *plan) add(f protocol.Family, text string) {
	if text != "" {
		p.texts = append(p.texts, backend.Text{Family: f, Tool: strings.Join(restoreCommand(f), " "), Text: text})
	}
}

// dropsTable reports whether a recency table will have no rule that names it.
func dropsTable(was *about, will *ruleset) bool {
	stays := map[string]bool{}
	for _, u := range will.uses {
		stays[u.table.name] = true
	}
	return slices.ContainsFunc(was.Tables, func(t table) bool { return !stays[t.name] })
}

// fewTables is how many recency tables a family may have before it is worth transactions of their
// own to make them in order: a packet finds the last of forty in some 0.3 µs.
const fewTables = 40

// primed reports whether an install of many profiles makes the tables that packets ask most before
// all others, of both families. IPv6's would else be behind IPv4's on the kernel's list, and a
// stranger's packet over IPv6 would cost more with each profile: 4.5 times as much at a gate with
// 100 as with one.
func primed(was, target map[protocol.Family]*ruleset) bool {
	for _, f := range protocol.Families() {
		if was[f] == nil || !was[f].empty() || len(target[f].uses) < fewTables {
			return false
		}
	}
	return true
}

// primer returns the transaction that makes the tables that are at least so hot. No packet reaches
// the chain that names them, and the family's own transaction replaces it. An install that is killed
// in between leaves that chain: status asks to install again, which removes it.
func (r *ruleset) primer(h heat) string {
	n := slices.IndexFunc(r.uses, func(u tableUse) bool { return u.heat > h })
	var b strings.Builder
	b.WriteString("*filter\n:" + chainAbout + " - [0:0]\n")
	for _, rule := range r.chain(chainAbout).Rules[:n] {
		b.WriteString("-A " + chainAbout + " " + rule + "\n")
	}
	b.WriteString(endOfTable)
	return b.String()
}
