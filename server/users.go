package server

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"knockkit/internal/kernel/backend"
	"knockkit/internal/kernel/conns"
	"knockkit/protocol"
	"knockkit/server/events"
)

// ErrNotSigned says that a profile is not signed: it has no users.
var ErrNotSigned = errors.New("not a signed profile")

// RevokeUser ends what a user has opened of an installed signed profile, with any key. A lease that
// others have knocked for too goes on, for as long as they have left. With cut it also ends the
// connections of the holders whose leases are over. Errors: [ErrNotInstalled], [ErrNotSigned], those
// of the backend; after leases were ended, why connections could not be.
func (s *Server) RevokeUser(ctx context.Context, name, user string, cut bool) (Revoked, error) {
	var r Revoked
	var p *protocol.Profile
	var acts []events.Act
	_, err := s.changeLeases(ctx, backend.Depth{Leases: true, Profile: name}, &acts, func(is *Reading) (c leaseChange, err error) {
		if p, err = find(is, name); err != nil {
			return c, err
		}
		if p.Signed == nil {
			return c, fmt.Errorf("profile %s: %w", name, ErrNotSigned)
		}
		r, acts = revokedOf(is.Sources, name, user), []events.Act{scope(name, netip.Prefix{}, user)}
		for _, holder := range r.Ended {
			act := revoked(p, holder)
			act.User = user
			acts = append(acts, act)
		}
		// What a trial keeps for its undo is in the kernel, and ends too: the trial has to be told nothing.
		c.end = []Source{{Profile: name, State: Open, Users: []User{{Name: user}}}}
		return c, nil
	})
	if err != nil {
		return Revoked{}, err
	}
	for _, holder := range r.Ended {
		if err == nil && cut {
			var n int
			n, err = conns.End(p, holder)
			r.Connections += n
			if err != nil {
				err = fmt.Errorf("leases that are over: %d; %w", len(r.Ended), err)
			}
		}
	}
	return r, err
}

// revokedOf says which leases of a profile are over when a user's part of them ends, and which go on.
func revokedOf(sources []Source, profile, user string) (r Revoked) {
	for i, src := range sources {
		others := slices.DeleteFunc(slices.Clone(src.Users), func(u User) bool { return u.Name == user })
		if src.Profile != profile || src.State != Open || len(others) == len(src.Users) {
			continue
		}
		byHand := -1 // a lease that lets the holder in all the same
		for j, o := range sources {
			if j != i && o.Profile == profile && o.State == Open && backend.Inside(src.Address, []netip.Prefix{o.Address}) {
				byHand = j
			}
		}
		switch {
		case len(others) > 0:
			src.Users = others
			src.Left, src.Unlimited = 0, false
			for _, u := range others {
				src.Left, src.Unlimited = max(src.Left, u.Left), src.Unlimited || u.Unlimited
			}
			r.GoesOn = append(r.GoesOn, src)
		case byHand >= 0:
			r.GoesOn = append(r.GoesOn, sources[byHand])
		default:
			r.Ended = append(r.Ended, src.Address)
		}
	}
	return r
}

// ForgetUsers makes the kernel forget who has opened leases that are over: given back, used up, or
// expired where `renew` had made them longer. Errors: those of the lock and the backend.
func (s *Server) ForgetUsers(ctx context.Context) error {
	depth := backend.Depth{Leases: true}
	before, err := s.read(ctx, depth)
	if err != nil {
		return err
	}
	if p, err := before.Forget(before.Planner); err != nil || len(p.Texts()) == 0 {
		return err
	}
	lock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer lock.Release()
	r, err := s.read(ctx, depth)
	if err != nil {
		return err
	}
	_, err = s.commit(ctx, r, depth, func(r *Reading) (backend.Plan, error) { return r.Forget(before.Planner) }, lock.files()...)
	return err
}
