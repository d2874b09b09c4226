package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"knockkit/internal/kernel/backend"
	"knockkit/internal/kernel/claim"
	"knockkit/internal/kernel/conns"
	"knockkit/protocol"
	"knockkit/server/events"
)

// AddressError says that an address, or a prefix, cannot hold a lease of a profile.
type AddressError struct {
	Address netip.Prefix
	Why     string // what follows the address in a sentence: "is outside the profile's `from`"
}

func (e *AddressError) Error() string { return protocol.PrefixText(e.Address) + " " + e.Why }

// Granted is what a grant has given.
type Granted struct {
	Covers netip.Prefix   // what the lease covers: at least the profile's own prefix
	Only   []netip.Prefix // the part of Covers that the profile's `from` lets in; nil: all of it
	Lasts  time.Duration  // 0: without end
	Once   bool           // for one connection
	Lifted []netip.Addr   // addresses whose bans were lifted: a gate drops who is banned
	Drift  []string       // where the rules have drifted: the lease may open nothing
	Advice []Reason       // whose leases a full table has forgotten for this one
}

// Grant gives an address, or a prefix, a lease of an installed profile: for d, whole
// seconds, or for the profile's own time when d is 0.
// Errors: [ErrNotInstalled], an [*AddressError], those of the backend.
func (s *Server) Grant(ctx context.Context, name string, who netip.Prefix, d time.Duration) (Granted, error) {
	who = protocol.UnmapPrefix(who)
	depth := backend.Depth{Rules: true, Leases: true, Profile: name, Family: protocol.FamilyOf(who.Addr())}
	var g Granted
	var acts []events.Act
	lost, err := s.changeLeases(ctx, depth, &acts, func(r *Reading) (c leaseChange, err error) {
		p, err := find(r, name)
		if err != nil {
			return c, err
		}
		if g, err = grantOf(p, who); err != nil {
			return c, err
		}
		g.Drift = r.Drift
		lifted, falls := bans(r, g.Covers)
		g.Lifted = lifted
		lasts, steps := cmp.Or(d, p.Lease), len(p.Sequence)
		g.Lasts = lasts
		lease := Source{Profile: p.Name, Address: g.Covers, State: Open, Step: steps, Steps: steps, Left: lasts, Unlimited: lasts == 0, ByHand: lasts != p.Lease}
		acts = append(unbanned(lifted), granted(p, g))
		return leaseChange{[]Source{lease}, falls, []backend.Ended{{Profile: name, Holder: g.Covers}, {Holder: g.Covers, Inside: true}}}, nil
	})
	if err != nil || len(lost) == 0 {
		return g, err
	}
	g.Advice = []Reason{pushedOut(ctx, lost)}
	return g, nil
}

// grantOf says what a lease for an address or a prefix covers, or why it cannot be given.
func grantOf(p *protocol.Profile, who netip.Prefix) (Granted, error) {
	holder, err := leaseFor(p, who)
	if err != nil {
		return Granted{}, err
	}
	g := Granted{Covers: holder, Once: p.Once}
	if !backend.Inside(holder, p.From) {
		g.Only = slices.DeleteFunc(slices.Clone(p.From), func(from netip.Prefix) bool { return !from.Overlaps(holder) })
	}
	switch {
	case holder.Bits() == 0:
		return g, &AddressError{holder, "is everybody: a port that is open to all needs no profile"}
	case p.Once && holder.Bits() < p.Prefix(protocol.FamilyOf(who.Addr())):
		return g, &AddressError{holder, fmt.Sprintf("cannot hold a lease of %s, which is for one connection", p.Name)}
	case len(p.From) > 0 && !slices.ContainsFunc(p.From, who.Overlaps):
		return g, &AddressError{who, "is outside the profile's `from`: its gate would not let it in"}
	}
	return g, nil
}

// bans returns the banned addresses inside a prefix, and the bans and falls that have to end so that
// they are not banned any more.
func bans(r *Reading, who netip.Prefix) (banned []netip.Addr, end []Source) {
	for _, src := range r.Sources {
		if src.State != Banned && src.State != backend.Fallen || !who.Contains(src.Address.Addr()) {
			continue
		}
		end = append(end, src)
		if src.State == Banned {
			banned = append(banned, src.Address.Addr())
		}
	}
	return banned, end
}

// Revoked is what a revocation has ended.
type Revoked struct {
	Ended       []netip.Prefix // addresses and prefixes whose leases are over
	Wider       []netip.Prefix // wider prefixes whose leases go on, and still let the address in
	GoesOn      []Source       // leases that still let a holder in whom the user had let in: for their other Users, or by hand
	Connections int            // how many were ended; 0 without cut
}

// Revoke ends leases of an installed profile: the one of an address, those inside a prefix, or all
// for the zero Prefix. With cut it also ends the connections that those holders made through the
// gate. Errors: [ErrNotInstalled], an [*AddressError], those of the backend; after leases were
// ended, why connections could not be.
func (s *Server) Revoke(ctx context.Context, name string, who netip.Prefix, cut bool) (Revoked, error) {
	depth := backend.Depth{Leases: true, Profile: name}
	if who = protocol.UnmapPrefix(who); who.IsValid() {
		depth.Family = protocol.FamilyOf(who.Addr())
	}
	var r Revoked
	var p *protocol.Profile
	var from []netip.Prefix
	var acts []events.Act
	_, err := s.changeLeases(ctx, depth, &acts, func(is *Reading) (c leaseChange, err error) {
		if p, err = find(is, name); err != nil {
			return c, err
		}
		holder := netip.Prefix{}
		from = everybody()
		if who.IsValid() {
			if holder, err = leaseFor(p, who); err != nil {
				return c, err
			}
			from = []netip.Prefix{holder}
		}
		c.ended = endedInside(name, from)
		r, acts = Revoked{}, []events.Act{scope(name, holder, "")}
		for _, src := range backend.LongestLeases(is.Sources) {
			switch {
			case src.Profile != name || src.State != Open:
			case backend.Inside(src.Address, from):
				r.Ended = append(r.Ended, src.Address)
				src.Users = nil // all of it
				c.end = append(c.end, src)
				acts = append(acts, revoked(p, src.Address))
			case slices.ContainsFunc(from, src.Address.Overlaps):
				r.Wider = append(r.Wider, src.Address)
			}
		}
		return c, nil
	})
	if err != nil {
		return Revoked{}, err
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

// everybody is all addresses of both families.
func everybody() []netip.Prefix {
	return []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0)}
}

// Unban lifts the ban of an address, those inside a prefix, or all for the zero Prefix, and forgets
// the falls that were counted. It returns the addresses that were banned. Errors: those of the
// backend.
func (s *Server) Unban(ctx context.Context, who netip.Prefix) (lifted []netip.Addr, err error) {
	which := everybody()
	if who = protocol.UnmapPrefix(who); who.IsValid() {
		which = []netip.Prefix{who}
	}
	var acts []events.Act
	_, err = s.changeLeases(ctx, backend.Depth{Leases: true}, &acts, func(r *Reading) (leaseChange, error) {
		lifted = nil
		c := leaseChange{ended: endedInside("", which)}
		for _, p := range which {
			banned, falls := bans(r, p)
			lifted, c.end = append(lifted, banned...), append(c.end, falls...)
		}
		acts = unbanned(lifted)
		return c, nil
	})
	return lifted, err
}

// leaseChange is what a command does to leases, bans and falls.
type leaseChange struct {
	give, end []Source
	ended     []backend.Ended // the same in general: of leases that a trial has ended for its time, too
}

func endedInside(profile string, which []netip.Prefix) (all []backend.Ended) {
	for _, p := range which {
		all = append(all, backend.Ended{Profile: profile, Holder: p, Inside: true})
	}
	return all
}

// changeLeases gives and ends leases, bans and falls, and tells the acts that change says. It returns
// the leases that a full table of the kernel has forgotten for the new ones.
func (s *Server) changeLeases(ctx context.Context, d backend.Depth, acts *[]events.Act, change func(*Reading) (leaseChange, error)) ([]Source, error) {
	lock, err := s.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer lock.Release()
	r, err := s.read(ctx, d)
	if err == nil && d.Profile != "" && protocol.Find(r.Profiles, d.Profile) == nil && d.Family != protocol.Both {
		d.Family = protocol.Both // it may have no gate for this one
		r, err = s.read(ctx, d)
	}
	if err != nil {
		return nil, err
	}
	told, began := false, time.Now()
	lost, err := s.commit(ctx, r, d, func(r *Reading) (backend.Plan, error) {
		c, err := change(r)
		if err != nil {
			return nil, err
		}
		if !told { // first, so that nothing is done which its undo would not know of
			if err := tellTrial(c.ended); err != nil {
				return nil, err
			}
			told = true
		}
		return r.Change(c.give, c.end)
	}, lock.files()...)
	if trial, _, _ := claim.OwnerOf(claim.Install); errors.Is(err, ErrNotInstalled) && trial.Left > 0 {
		err = fmt.Errorf("%w while a trial lasts (%s)", err, trial)
	}
	if err == nil {
		for i := range *acts {
			(*acts)[i].Took = time.Since(began)
		}
		s.tell(ctx, *acts...)
	}
	return lost, err
}

// find finds an installed profile by its name.
func find(r *Reading, name string) (*protocol.Profile, error) {
	p := protocol.Find(r.Profiles, name)
	if p == nil {
		return nil, fmt.Errorf("profile %s: %w", name, ErrNotInstalled)
	}
	return p, nil
}

// leaseFor returns what a lease for an address or prefix covers: at least the profile's own prefix.
func leaseFor(p *protocol.Profile, who netip.Prefix) (netip.Prefix, error) {
	family := protocol.FamilyOf(who.Addr())
	if !p.In(family) {
		return who, &AddressError{who, fmt.Sprintf("cannot hold a lease of %s, which has no gate for %s", p.Name, family)}
	}
	return who.Addr().Prefix(min(who.Bits(), p.Prefix(family)))
}
