package backend

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"knockkit/protocol"
)

// Position is a source in a state of the automaton.
type Position struct {
	Address   netip.Addr
	Users     []protocol.Use // of the state
	Age, Left time.Duration  // since the source entered it; until its time is over
	Unlimited bool           // Left has no meaning
}

// ListPositions lists the newest of the positions as sources, and counts those of each profile. A
// sequence that ends in a state is a lease, not a position.
func ListPositions(all []Position, newest int) (list []Source, byProfile map[string]int) {
	byProfile = map[string]int{}
	slices.SortStableFunc(all, func(x, y Position) int { return cmp.Compare(x.Age, y.Age) })
	for i, p := range all {
		for _, u := range p.Users {
			steps := len(u.Profile.Sequence)
			if u.Step == steps {
				continue
			}
			byProfile[u.Profile.Name]++
			if i < newest {
				list = append(list, Source{Profile: u.Profile.Name, Address: netip.PrefixFrom(p.Address, p.Address.BitLen()), State: Knocking,
					Step: u.Step, Steps: steps, Left: p.Left, Unlimited: p.Unlimited})
			}
		}
	}
	return list, byProfile
}
