package server_test

import (
	"net/netip"
	"testing"

	"knockkit/protocol"
)

// TestASequenceGoesOnInOneFamilyWhereItEndsInTheOther has an automaton for each
// family in which one state is the last of a sequence here, and not there.
func TestASequenceGoesOnInOneFamilyWhereItEndsInTheOther(t *testing.T) {
	for _, longer := range protocol.Families() {
		t.Run("longer in "+longer.String(), func(t *testing.T) {
			profiles := []*protocol.Profile{
				parse(t, "both", "sequence = [\"1001/tcp\", \"1002/tcp\"]\nopen = [\"80/tcp\"]"),
				parse(t, "more", "sequence = [\"1001/tcp\", \"1002/tcp\", \"1003/tcp\"]\nopen = [\"81/tcp\"]\nfamily = \""+longer.String()+`"`),
			}
			gated(t, profiles, func(s *site, one, other netip.Addr) {
				s.send(one, tcp(1001), tcp(1002))
				s.send(other, tcp(1001), tcp(1002), tcp(1002), tcp(1003))
				s.expect("open", one, 80)
				if protocol.FamilyOf(one) == longer {
					s.expect("silent", one, 81)
				}
				s.expect("open", other, 80)
				s.expect("open", other, 81) // or not gated in this family
			})
		})
	}
}
