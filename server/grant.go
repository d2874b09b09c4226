package server

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"knockkit/protocol"
	"knockkit/server/backend"
)

// AddressError says that an address cannot hold a lease of a profile.
type AddressError struct {
	Address netip.Addr
	Why     string
}

func (e *AddressError) Error() string { return fmt.Sprintf("%s %s", e.Address, e.Why) }

// Grant gives the address a lease of an installed profile: for d, whole seconds,
// or for the profile's own time when d is 0. It returns what the lease covers.
// Errors: [backend.ErrNotInstalled], an [*AddressError], those of the backend.
func (s *Server) Grant(ctx context.Context, name string, addr netip.Addr, d time.Duration) (netip.Prefix, error) {
	lock, err := s.lock(ctx)
	if err != nil {
		return netip.Prefix{}, err
	}
	defer lock.Release()
	p, holder, err := s.holder(ctx, name, addr)
	if err != nil {
		return holder, err
	}
	if len(p.From) > 0 && !slices.ContainsFunc(p.From, func(from netip.Prefix) bool { return from.Contains(addr) }) {
		return holder, &AddressError{addr, "is outside the profile's `from`: its gate would not let it in"}
	}
	return holder, s.backend.Grant(ctx, p, holder, d)
}

// Revoke ends the address's lease. held reports whether it had one. With cut the
// connections that it made through the gate end too; ended counts them.
func (s *Server) Revoke(ctx context.Context, name string, addr netip.Addr, cut bool) (held bool, ended int, err error) {
	lock, err := s.lock(ctx)
	if err != nil {
		return false, 0, err
	}
	defer lock.Release()
	p, holder, err := s.holder(ctx, name, addr)
	if err != nil {
		return false, 0, err
	}
	held, err = s.backend.Revoke(ctx, p, holder)
	if err != nil || !cut {
		return held, 0, err
	}
	ended, err = endConnections(p, holder)
	return held, ended, err
}

// holder finds the installed profile and what a lease of the address covers.
func (s *Server) holder(ctx context.Context, name string, addr netip.Addr) (*protocol.Profile, netip.Prefix, error) {
	installed, err := s.Installed(ctx)
	if err != nil {
		return nil, netip.Prefix{}, err
	}
	i := slices.IndexFunc(installed, named(name))
	if i < 0 {
		return nil, netip.Prefix{}, fmt.Errorf("profile %s: %w", name, backend.ErrNotInstalled)
	}
	addr = addr.Unmap().WithZone("")
	p, family := installed[i], protocol.FamilyOf(addr)
	if !p.In(family) {
		return nil, netip.Prefix{}, &AddressError{addr, fmt.Sprintf("cannot hold a lease of %s, which has no gate for %s", name, family)}
	}
	holder, err := addr.Prefix(p.Prefix(family))
	return p, holder, err
}
