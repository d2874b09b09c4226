package events

import (
	"slices"

	"knockkit/internal/kernel/backend"
	"knockkit/protocol"
)

// signed reports whether a report is about the lease of a signed profile, whose user it does not name.
func (s *tracker) signed(r report) bool {
	if r.Event != backend.ReportGrant {
		return false
	}
	p := s.views[protocol.FamilyOf(r.Packet.Source)].profile(r.Profile)
	return p != nil && p.Signed != nil
}

// name gives such reports their users, from a reading that began after them: the last report of a lease
// is of the user who has knocked last.
func (s *tracker) name(reports []report, sources []backend.Source) {
	taken := map[string]int{} // by profile and holder
	for i, r := range slices.Backward(reports) {
		if !s.signed(r) {
			continue
		}
		for _, src := range sources {
			if src.Profile != r.Profile || src.State != backend.Open || len(src.Users) == 0 || !src.Address.Contains(r.Packet.Source) {
				continue
			}
			lease := r.Profile + " " + src.Address.String()
			reports[i].User = src.Users[min(taken[lease], len(src.Users)-1)]
			taken[lease]++
			break
		}
	}
}
