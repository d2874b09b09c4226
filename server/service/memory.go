package service

import (
	"maps"
	"net/netip"
	"time"

	"knockkit/protocol"
	"knockkit/server/backend"
	"knockkit/server/events"
)

// maxRemembered bounds the memory: as many as a table of nftables holds.
const maxRemembered = 65535

// memory is who held a lease of the wanted profiles when the kernel was last seen in
// order: what a flush by another tool would make the kernel forget.
type memory struct {
	leases map[holding]time.Duration // → when it ends, by the clock that never steps; 0: never
}

type holding struct {
	profile string
	holder  netip.Prefix
}

func newMemory() *memory { return &memory{leases: map[holding]time.Duration{}} }

// granted notes a lease that starts now.
func (m *memory) granted(now events.Moment, profiles []*protocol.Profile, name, address string) {
	addr, err := netip.ParseAddr(address)
	if err != nil {
		return
	}
	for _, p := range profiles {
		if p.Name != name {
			continue
		}
		holder, err := addr.Prefix(p.Prefix(protocol.FamilyOf(addr)))
		if err != nil {
			return
		}
		var until time.Duration
		if p.Lease > 0 {
			until = now.Up + p.Lease
		}
		m.put(holding{name, holder}, until)
	}
}

// put notes a lease. Of two, one given by hand and one from a knock, the longer counts.
func (m *memory) put(h holding, until time.Duration) {
	had, ok := m.leases[h]
	if ok && (had == 0 || until != 0 && until < had) || !ok && len(m.leases) >= maxRemembered {
		return
	}
	m.leases[h] = until
}

// replace remembers exactly the leases that the kernel has.
func (m *memory) replace(now events.Moment, sources []backend.Source) {
	clear(m.leases)
	for _, s := range sources {
		if s.State != backend.Open {
			continue
		}
		var until time.Duration
		if !s.Unlimited {
			until = now.Up + s.Left
		}
		m.put(holding{s.Profile, s.Address}, until)
	}
}

// keep forgets the leases that are none any more when other versions of the profiles
// are wanted.
func (m *memory) keep(was, will []*protocol.Profile) {
	maps.DeleteFunc(m.leases, func(h holding, _ time.Duration) bool {
		return len(backend.Keep([]backend.Source{{Profile: h.profile, Address: h.holder, State: backend.Open}}, was, will)) == 0
	})
}

// lost returns the remembered leases that are not among the kernel's, and not over,
// of profiles that are to be installed.
func (m *memory) lost(now events.Moment, sources []backend.Source, profiles []*protocol.Profile) []backend.Source {
	held := map[holding]bool{}
	for _, s := range sources {
		if s.State == backend.Open {
			held[holding{s.Profile, s.Address}] = true
		}
	}
	var lost []backend.Source
	for _, p := range profiles {
		for h, until := range m.leases {
			left := until - now.Up
			if h.profile != p.Name || held[h] || (until > 0 && left < time.Second) {
				continue
			}
			lost = append(lost, backend.Source{Profile: p.Name, Address: h.holder, State: backend.Open,
				Step: len(p.Sequence), Steps: len(p.Sequence), Left: left, Unlimited: until == 0})
		}
	}
	return lost
}

// empty reports whether nobody is known to hold a lease.
func (m *memory) empty() bool { return len(m.leases) == 0 }
