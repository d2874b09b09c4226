package server_test

import (
	"net/netip"
	"strings"
	"testing"

	"knockkit/internal/lab"
	"knockkit/protocol"
)

// gated runs f on every backend, with two forged sources of each family in turn,
// on a host that has the profiles and listens on the first and the last TCP port of
// everything they open.
func gated(t *testing.T, profiles []*protocol.Profile, f func(s *site, one, other netip.Addr)) {
	t.Helper()
	eachBackend(t, func(t *testing.T, name string) {
		s := newSite(t, name, strict())
		s.listenBehind(profiles)
		s.install(profiles...)
		eachFamily(t, func(t *testing.T, one, other netip.Addr) {
			s.t = t
			f(s, one, other)
		})
		s.t = t
	})
}

// listenBehind listens on the first and the last TCP port of each opened range.
func (s *site) listenBehind(profiles []*protocol.Profile) {
	s.t.Helper()
	listening := map[uint16]bool{}
	for _, p := range profiles {
		for _, open := range p.Open {
			for _, port := range []uint16{open.First, open.Last} {
				if open.Proto == protocol.TCP && !listening[port] {
					listening[port] = true
					s.listen(port)
				}
			}
		}
	}
}

// everyone is a forged source of each family, for tests that wait: they wait once.
func everyone() []netip.Addr { return []netip.Addr{lab.ForgedAddr4(1), lab.ForgedAddr6(1)} }

// forged is the i-th forged source of a family.
func forged(f protocol.Family, i int) netip.Addr {
	if f == protocol.IPv4 {
		return lab.ForgedAddr4(i)
	}
	return lab.ForgedAddr6(i)
}

// sequence returns the knocks of a profile.
func sequence(p *protocol.Profile) []protocol.Knock {
	var all []protocol.Knock
	for _, step := range p.Sequence {
		all = append(all, step.Knock)
	}
	return all
}

// inject lets packets come in as they are and returns what the host answers.
func (s *site) inject(packets ...[]byte) []lab.Packet {
	s.t.Helper()
	for _, p := range packets {
		if err := s.wire.Inject(p); err != nil {
			s.t.Fatal(err)
		}
	}
	return s.answers()
}

// answer says in words what the host answers to a packet: "silence", "syn+ack",
// "rst+ack", "echo reply", "port unreachable", …
func (s *site) answer(packet []byte) string {
	s.t.Helper()
	s.answers()
	kinds := []string{}
	asked, err := lab.Parse(packet)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, p := range s.inject(packet) {
		if p.Proto == protocol.TCP && (p.Dst != asked.Src || p.DstPort != asked.SrcPort) {
			continue // the kernel says it again to a connection that was never finished
		}
		kinds = append(kinds, kindOf(p))
	}
	if len(kinds) == 0 {
		return "silence"
	}
	return strings.Join(kinds, ", ")
}

// answers to a new flow, in the same words.
func (s *site) answerTo(src netip.Addr, k protocol.Knock) string {
	s.t.Helper()
	return s.answer(s.packet(src, k))
}

func kindOf(p lab.Packet) string {
	type icmp struct {
		v4         bool
		kind, code uint8
	}
	switch p.Proto {
	case protocol.TCP:
		return p.Flags.String()
	case protocol.UDP:
		return "datagram"
	}
	switch (icmp{p.Src.Is4(), p.ICMPType, p.ICMPCode}) {
	case icmp{true, 0, 0}, icmp{false, 129, 0}:
		return "echo reply"
	case icmp{true, 3, 3}, icmp{false, 1, 4}:
		return "port unreachable"
	}
	return p.String()
}
