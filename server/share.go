package server

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"knockkit/internal/kernel/backend"
	"knockkit/protocol"
	"knockkit/server/events"
)

// Sharing is what the other nodes of a fleet have decided about leases here.
type Sharing struct {
	Give []Source // replaces what the holder has; for the time left, by the Users, who may have keys that are not known here
	End  []Source
}

// Shared is what became of it.
type Shared struct {
	Given, Ended []Source
	LeftOut      []error  // why a lease cannot be given here, each an [*AddressError]
	PushedOut    []Source // leases that a full table has forgotten for the new ones
}

// Share gives and ends leases that other nodes have told of: all at once, as decide says, which gets a
// reading of the leases that no other command changes meanwhile. It is called again where the kernel does
// change. The depth says of which profile and family leases are read, and with Keys that leases with Users may
// be given. Nobody is told: it is no act of an operator. Bans stay. Errors: those of the lock and
// the backend.
func (s *Server) Share(ctx context.Context, d backend.Depth, decide func(*Reading) Sharing) (Shared, error) {
	var shared Shared
	var acts []events.Act // none
	d.Leases = true
	lost, err := s.changeLeases(ctx, d, &acts, func(r *Reading) (c leaseChange, err error) {
		will := decide(r)
		shared = Shared{Ended: will.End}
		for _, lease := range will.Give {
			if err := leftOut(r, &lease); err != nil {
				shared.LeftOut = append(shared.LeftOut, err)
				continue
			}
			shared.Given = append(shared.Given, lease)
		}
		c = leaseChange{give: shared.Given, end: shared.Ended}
		for _, lease := range slices.Concat(shared.Given, shared.Ended) {
			c.ended = append(c.ended, backend.Ended{Profile: lease.Profile, Holder: lease.Address})
		}
		return c, nil
	})
	shared.PushedOut = lost
	return shared, err
}

// leftOut returns why this host cannot give a lease of another node.
func leftOut(r *Reading, lease *Source) error {
	p := protocol.Find(r.Profiles, lease.Profile)
	if p == nil {
		return &AddressError{lease.Address, fmt.Sprintf("cannot hold a lease of %s, which is not installed", lease.Profile)}
	}
	if holder, err := leaseFor(p, lease.Address); err != nil || holder != lease.Address {
		return &AddressError{lease.Address, fmt.Sprintf("is no holder of %s", p.Name)}
	}
	if len(p.From) > 0 && !slices.ContainsFunc(p.From, func(from netip.Prefix) bool { return from.Overlaps(lease.Address) }) {
		return &AddressError{lease.Address, "is outside the profile's `from`: its gate would not let it in"}
	}
	return nil
}
