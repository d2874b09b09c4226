//go:build linux

package stage

import (
	"net/netip"

	"knockkit/internal/lab"
	"knockkit/protocol"
)

// Kind is what a stranger's packet is to the rules.
type Kind string

// The kinds, in the order in which they are shown.
const (
	Elsewhere Kind = "a port that nobody gates"
	Gated     Kind = "a gated port"
	First     Kind = "a first knock"
)

// Kinds lists the kinds.
func Kinds() []Kind { return []Kind{Elsewhere, Gated, First} }

// strangers is how many sources each of the two halves of the forged ones has:
// those that never knock, and those that make first knocks. So a packet of the
// other kinds never comes from a source in a position.
const strangers = Forged / 2

// Forged is how many sources can be forged.
const Forged = 1 << 16

// Packets returns SYNs of a kind, each a flow of its own, spread evenly over the
// profiles' ports. They are of the address's family.
func Packets(kind Kind, profiles []*protocol.Profile, to netip.Addr, n int) [][]byte {
	packets := make([][]byte, n)
	for i := range packets {
		source := i % strangers
		if kind == First {
			source += strangers
		}
		addr := lab.ForgedAddr4(source)
		if to.Is6() {
			addr = lab.ForgedAddr6(source)
		}
		from := netip.AddrPortFrom(addr, uint16(20_000+i%40_000))
		packets[i] = lab.SYN(from, netip.AddrPortFrom(to, port(kind, profiles, i)))
	}
	return packets
}

func port(kind Kind, profiles []*protocol.Profile, i int) uint16 {
	p := profiles[i%len(profiles)]
	switch kind {
	case Gated:
		return p.Open[0].First
	case First:
		return p.Sequence[0].Knock.Port
	}
	return Unused
}

// FirstKnocks returns a first knock of the profile from every forged source.
func FirstKnocks(p *protocol.Profile, to netip.Addr) [][]byte {
	packets := make([][]byte, Forged)
	for i := range packets {
		from := netip.AddrPortFrom(lab.ForgedAddr4(i), uint16(20_000+i%40_000))
		packets[i] = lab.SYN(from, netip.AddrPortFrom(to, p.Sequence[0].Knock.Port))
	}
	return packets
}
