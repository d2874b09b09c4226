package server

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"knockkit/protocol"
	"knockkit/server/backend"
	"knockkit/server/conns"
)

// AddressError says that an address, or a prefix, cannot hold a lease of a profile.
type AddressError struct {
	Address netip.Prefix
	Why     string
}

func (e *AddressError) Error() string { return protocol.PrefixText(e.Address) + " " + e.Why }

// Granted is what a grant has given.
type Granted struct {
	Covers netip.Prefix   // at least the profile's own prefix
	Only   []netip.Prefix // of which only these may come, by the profile's `from`; nil: all
	Once   bool           // for one connection
	Drift  []string       // where the rules are not ours any more, so that the lease may be worth nothing
}

// Grant gives an address, or a prefix, a lease of an installed profile: for d, whole
// seconds, or for the profile's own time when d is 0.
// Errors: [backend.ErrNotInstalled], an [*AddressError], those of the backend.
func (s *Server) Grant(ctx context.Context, name string, who netip.Prefix, d time.Duration) (Granted, error) {
	lock, err := s.lock(ctx)
	if err != nil {
		return Granted{}, err
	}
	defer lock.Release()
	is, p, err := s.find(ctx, name)
	if err != nil {
		return Granted{}, err
	}
	who = protocol.UnmapPrefix(who)
	holder, err := holderOf(p, who)
	if err != nil {
		return Granted{}, err
	}
	g := Granted{Covers: holder, Once: p.Once}
	if !backend.Within(holder, p.From) {
		g.Only = slices.DeleteFunc(slices.Clone(p.From), func(from netip.Prefix) bool { return !from.Overlaps(holder) })
	}
	switch {
	case holder.Bits() == 0:
		return g, &AddressError{holder, "is everybody: a port that is open to all needs no profile"}
	case p.Once && holder.Bits() < p.Prefix(protocol.FamilyOf(who.Addr())):
		return g, &AddressError{holder, fmt.Sprintf("cannot hold a lease of %s, which is for one connection", name)}
	case len(p.From) > 0 && !slices.ContainsFunc(p.From, who.Overlaps):
		return g, &AddressError{who, "is outside the profile's `from`: its gate would not let it in"}
	}
	if err := s.backend.Grant(ctx, p, holder, d); err != nil || len(is.Drift) == 0 {
		return g, err
	}
	is, err = s.backend.Installed(ctx) // a grant may have been a commit, which puts them right
	g.Drift = is.Drift
	return g, err
}

// Revoked is what a revocation has ended.
type Revoked struct {
	Ended       []netip.Prefix // whose leases are over
	Wider       []netip.Prefix // whose leases go on, and let in whom the revocation was about
	Connections int            // that were ended; with cut only
}

// Revoke ends the leases of a profile: that of an address, those inside a prefix, or all
// for the zero Prefix. With cut the connections end too that were made through the gate
// from there.
func (s *Server) Revoke(ctx context.Context, name string, who netip.Prefix, cut bool) (Revoked, error) {
	lock, err := s.lock(ctx)
	if err != nil {
		return Revoked{}, err
	}
	defer lock.Release()
	_, p, err := s.find(ctx, name)
	if err != nil {
		return Revoked{}, err
	}
	from := []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0)}
	if who.IsValid() {
		holder, err := holderOf(p, protocol.UnmapPrefix(who))
		if err != nil {
			return Revoked{}, err
		}
		from = []netip.Prefix{holder}
	}
	var r Revoked
	var left []netip.Prefix
	r.Ended, left, err = s.backend.Revoke(ctx, p, func(holder netip.Prefix) bool { return backend.Within(holder, from) })
	for _, holder := range left {
		if slices.ContainsFunc(from, holder.Overlaps) {
			r.Wider = append(r.Wider, holder)
		}
	}
	for _, f := range from {
		if err == nil && cut && p.In(protocol.FamilyOf(f.Addr())) {
			var n int
			n, err = conns.End(p, f)
			r.Connections += n
			if err != nil {
				err = fmt.Errorf("leases that are over: %d; %w", len(r.Ended), err)
			}
		}
	}
	return r, err
}

// Unban lifts the ban of an address, those inside a prefix, or all for the zero Prefix,
// and forgets the falls counted so far. It returns who was banned.
func (s *Server) Unban(ctx context.Context, who netip.Prefix) ([]netip.Addr, error) {
	lock, err := s.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer lock.Release()
	who = protocol.UnmapPrefix(who)
	return s.backend.Unban(ctx, func(addr netip.Addr) bool { return !who.IsValid() || who.Contains(addr) })
}

// find reads what is installed, and finds a profile by its name.
func (s *Server) find(ctx context.Context, name string) (backend.Installed, *protocol.Profile, error) {
	is, err := s.backend.Installed(ctx)
	if err != nil {
		return is, nil, err
	}
	i := slices.IndexFunc(is.Profiles, named(name))
	if i < 0 {
		return is, nil, fmt.Errorf("profile %s: %w", name, backend.ErrNotInstalled)
	}
	return is, is.Profiles[i], nil
}

// holderOf returns what a lease of an address or prefix covers: no less than the profile's
// own prefix.
func holderOf(p *protocol.Profile, who netip.Prefix) (netip.Prefix, error) {
	family := protocol.FamilyOf(who.Addr())
	if !p.In(family) {
		return who, &AddressError{who, fmt.Sprintf("cannot hold a lease of %s, which has no gate for %s", p.Name, family)}
	}
	return who.Addr().Prefix(min(who.Bits(), p.Prefix(family)))
}
