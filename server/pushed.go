package server

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"knockkit/protocol"
	"knockkit/server/backend"
	"knockkit/server/iptables"
)

// PushedOut is called before a lease is given to the address by hand. The function that it
// returns is called afterwards, and says who has lost a lease for it: a full recency table
// forgets its oldest address without a word. nil error and false: nobody, as far as is known.
func (s *Server) PushedOut(ctx context.Context, addr netip.Addr) func() (Advice, bool, error) {
	nobody := func() (Advice, bool, error) { return Advice{}, false, nil }
	b, ok := s.backend.(*iptables.Backend)
	if !ok || !iptables.AnyFull(protocol.FamilyOf(addr.Unmap())) {
		return nobody
	}
	start := time.Now()
	before, err := b.Sources(ctx)
	if err != nil {
		return nobody // the grant meets it too
	}
	return func() (Advice, bool, error) {
		after, err := b.Sources(ctx)
		if err != nil {
			return Advice{}, false, fmt.Errorf("a table was full, and who has lost a lease for this one is not known: %w", err)
		}
		m, err := iptables.ReadModule(ctx)
		if err != nil {
			return Advice{}, false, err
		}
		lost := lostLeases(before, after, time.Since(start)+time.Second)
		return Advice{
			"who has lost a lease for it: " + strings.Join(lost, ", "),
			fmt.Sprintf("a table holds %d addresses, and was full", m.Limit),
			m.Raise(),
		}, len(lost) > 0, nil
	}
}

// lostLeases names the leases that are gone though they had more than d left.
func lostLeases(before, after []backend.Source, d time.Duration) []string {
	var lost []string
	for _, was := range before {
		had := was.State == backend.Open && (was.Unlimited || was.Left > d)
		has := func(is backend.Source) bool {
			return is.State == backend.Open && is.Profile == was.Profile && is.Address == was.Address
		}
		if had && !slices.ContainsFunc(after, has) {
			lost = append(lost, fmt.Sprintf("%s (%s)", protocol.PrefixText(was.Address), was.Profile))
		}
	}
	return lost
}
