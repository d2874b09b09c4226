package protocol

import (
	"net/netip"
	"slices"
	"time"
)

// Access is what a connection to an opened port gets.
type Access struct {
	Gated   bool     // some profile has a gate there
	Profile *Profile // whose lease lets the connection in; nil: none does
	Closed  Closed   // what it gets when Profile is nil
}

// Connect runs the gates on a new connection, after [Machine.Step] has taken its first packet: a
// lease may be renewed or used up.
func (m *Machine) Connect(e Event) Access {
	var g Access
	for _, p := range m.a.Profiles {
		if !p.Opens(e.Knock) || !p.ScopeIn(m.a.Family).Matches(e.Dest, e.Interface) {
			continue
		}
		if !g.Gated || p.Closed < g.Closed {
			g.Closed = p.Closed
		}
		g.Gated = true
		if g.Profile == nil && p.admits(e.Source) && m.HasLease(p, e.Source, e.Time) && !m.IsBanned(e.Source, e.Time) {
			g.Profile = p
		}
	}
	if p := g.Profile; p != nil {
		switch key := m.leaseKey(p, e.Source); {
		case p.Once:
			m.endLease(key)
		case p.Renew:
			m.leases[key] = e.Time
		}
	}
	if g.Gated && m.IsBanned(e.Source, e.Time) {
		g.Closed = ClosedDrop
	}
	return g
}

// shutOut reports whether a gate before destination NAT drops the event's packet, so that it never
// comes to the host's input. All profiles that open a port agree on the place.
func (m *Machine) shutOut(e Event) bool {
	gated := false
	for _, p := range m.a.Profiles {
		if p.Place != PlacePrerouting || !p.Opens(e.Knock) || !p.ScopeIn(m.a.Family).Matches(e.Dest, e.Interface) {
			continue
		}
		if p.admits(e.Source) && m.HasLease(p, e.Source, e.Time) {
			return false
		}
		gated = true
	}
	return gated
}

// HasLease reports whether the source holds a lease of the profile at a time.
func (m *Machine) HasLease(p *Profile, source netip.Addr, now time.Time) bool {
	granted, ok := m.leases[m.leaseKey(p, source)]
	return ok && (p.Lease == 0 || now.Sub(granted) <= p.Lease)
}

// Opens reports whether a packet of kind k goes to a port that the profile opens.
func (p *Profile) Opens(k Knock) bool {
	return slices.ContainsFunc(p.Open, func(r PortRange) bool { return r.Contains(k) })
}

// admits reports whether the source is in `from`. A lease of a whole prefix may reach further: it
// lets in nobody else.
func (p *Profile) admits(source netip.Addr) bool {
	return len(p.From) == 0 || anyContains(p.From, source)
}

func (m *Machine) leaseKey(p *Profile, source netip.Addr) leaseKey {
	holder, _ := source.Prefix(p.Prefix(m.a.Family)) // the length is valid in a valid profile
	return leaseKey{p.Name, holder}
}

// grantAll gives the event's source a lease of each profile whose `from` it is in.
func (m *Machine) grantAll(profiles []*Profile, e Event) []*Profile {
	var granted []*Profile
	for _, p := range profiles {
		if p.admits(e.Source) {
			m.leases[m.leaseKey(p, e.Source)] = e.Time
			granted = append(granted, p)
		}
	}
	return granted
}

// closeLeases ends the leases whose close knock the event is.
func (m *Machine) closeLeases(e Event) []*Profile {
	var given []*Profile
	for _, p := range m.a.Profiles {
		if p.Close == nil || *p.Close != e.Knock || !p.ScopeIn(m.a.Family).Matches(e.Dest, e.Interface) {
			continue
		}
		if m.HasLease(p, e.Source, e.Time) {
			given = append(given, p)
		}
		m.endLease(m.leaseKey(p, e.Source))
	}
	return given
}
