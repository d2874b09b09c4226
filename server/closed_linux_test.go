package server_test

import (
	"net/netip"
	"testing"

	"knockkit/protocol"
)

// TestWhatAStrangerGetsAtTheGate looks at ports where nobody listens: a host
// answers there as `reject` does.
func TestWhatAStrangerGetsAtTheGate(t *testing.T) {
	for _, test := range []struct {
		closed            string
		tcp, udp, whoIs80 string
	}{
		{"drop", "silence", "silence", "silence"},
		{"reject", "rst+ack", "port unreachable", "rst+ack"},
		{"continue", "rst+ack", "port unreachable", "syn+ack"}, // the host's own rules decide: none
	} {
		t.Run(test.closed, func(t *testing.T) {
			p := parse(t, "web", "sequence = [\"1001/tcp\", \"1002/tcp\"]\nopen = [\"80/tcp\", \"81-90/tcp\", \"53/udp\"]\nclosed = \""+test.closed+`"`)
			gated(t, []*protocol.Profile{p}, func(s *site, stranger, holder netip.Addr) {
				s.send(holder, tcp(1001), tcp(1002))
				for _, at := range []struct {
					knock            protocol.Knock
					stranger, holder string
				}{
					{tcp(80), test.whoIs80, "syn+ack"},
					{tcp(85), test.tcp, "rst+ack"},
					{udp(53), test.udp, "port unreachable"},
				} {
					if got := s.answerTo(stranger, at.knock); got != at.stranger {
						s.t.Errorf("a stranger at %s gets %s, not %s", at.knock, got, at.stranger)
					}
					if got := s.answerTo(holder, at.knock); got != at.holder {
						s.t.Errorf("a holder at %s gets %s, not %s", at.knock, got, at.holder)
					}
				}
			})
		})
	}
}

// TestARejectedConnectionLooksLikeAPortWhereNobodyListens compares whole packets.
func TestARejectedConnectionLooksLikeAPortWhereNobodyListens(t *testing.T) {
	p := parse(t, "web", "sequence = [\"1001/tcp\", \"1002/tcp\"]\nopen = [\"80/tcp\", \"53/udp\"]\nclosed = \"reject\"")
	gated(t, []*protocol.Profile{p}, func(s *site, one, _ netip.Addr) {
		for _, pair := range [][2]protocol.Knock{{tcp(80), tcp(8)}, {udp(53), udp(5)}} {
			gate, elsewhere := s.look(one, pair[0]), s.look(one, pair[1])
			if gate != elsewhere {
				s.t.Errorf("%s is answered with\n%s, %s with\n%s", pair[0], gate, pair[1], elsewhere)
			}
		}
	})
}

func TestWithClosedContinueTheHostsOwnRulesDecideAboutStrangers(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		s := newSite(t, name, strict())
		s.listen(3306)
		s.dropByDefault()
		s.install(article(t, `closed = "continue"`))
		eachFamily(t, func(t *testing.T, one, other netip.Addr) {
			s.t = t
			s.expect("silent", one, 3306)
			s.send(one, ping, tcp(7), tcp(8000))
			s.expect(final(name, "open", "silent"), one, 3306)
			s.expect("silent", other, 3306)
		})
	})
}

// dropByDefault makes the host drop whatever nothing accepts. It still tells its
// neighbours where it is, as IPv6 needs.
func (s *site) dropByDefault() {
	s.t.Helper()
	s.run("iptables", "-P", "INPUT", "DROP")
	s.run("ip6tables", "-P", "INPUT", "DROP")
	for _, kind := range []string{"neighbour-solicitation", "neighbour-advertisement"} {
		s.run("ip6tables", "-A", "INPUT", "-p", "ipv6-icmp", "--icmpv6-type", kind, "-j", "ACCEPT")
	}
}

// final says what comes of an accept on a host that drops by default: it ends the
// matter on iptables, while nftables asks the host's own rules after ours.
func final(backendName, accepted, dropped string) string {
	if backendName == "iptables" {
		return accepted
	}
	return dropped
}
