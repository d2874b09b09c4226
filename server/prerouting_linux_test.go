package server_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"knockkit/internal/kernel/backend"
	"knockkit/protocol"
	"knockkit/server"
)

// TestWhenTheTableMangleRefusesAGateFilterIsPutBack: REJECT is for filter alone, so
// that the second of the two transactions fails after the first is done.
func TestWhenTheTableMangleRefusesAGateFilterIsPutBack(t *testing.T) {
	eachFlavour(t, func(t *testing.T) {
		s := newSite(t, "iptables", strict())
		s.listen(3306)
		s.install(article(t, ""))
		holder, knocker := forged4(1), forged4(2)
		s.grant("mysql", holder, 0)
		s.send(knocker, ping, tcp(7))
		s.run("iptables", "-t", "mangle", "-S") // legacy leaves the empty table behind
		err := s.refuse(parse(t, "web", `sequence = ["1000/tcp", "1001/tcp"]
open = ["80/tcp"]
place = "prerouting"
opened = { iptables = ["-p tcp -j REJECT"] }`))
		if tool := new(backend.ToolError); !errors.As(err, &tool) {
			t.Errorf("got %v", err)
		}
		s.expect("open", holder, 3306)
		s.send(knocker, tcp(8000))
		s.expect("open", knocker, 3306)
	})
}

func TestWhatSomebodyDoesToAGateBeforeNATIsDrift(t *testing.T) {
	const noJump = "ipv4: PREROUTING does not jump to KNOCKD-PRE: nothing is gated before destination NAT"
	eachFlavour(t, func(t *testing.T) {
		s := newSite(t, "iptables", strict())
		p := article(t, `place = "prerouting"`)
		for _, c := range []struct {
			name, command string
			drift         []string
		}{
			{"the jump deleted", "-D PREROUTING -j KNOCKD-PRE", []string{noJump}},
			{"a rule before the jump", "-I PREROUTING -j ACCEPT", []string{`ipv4: PREROUTING jumps to KNOCKD-PRE at position 2, after "-j ACCEPT"`}},
			{"a rule added", "-I KNOCKD-PRE-TCP -j RETURN", []string{`ipv4: KNOCKD-PRE-TCP rule 1 is "-j RETURN"`}},
			{"the table flushed", "-F", []string{noJump,
				`ipv4: KNOCKD-PRE lacks the rule "-i lo -m addrtype --src-type LOCAL -m comment --comment \"loopback is no event\" -j RETURN"`,
				`ipv4: KNOCKD-PRE-TCP lacks the rule`, `ipv4: KNOCKD-PRE-SHUT-mysql lacks the rule`,
				`ipv4: KNOCKD-PRE-STRAY lacks the rule`, `ipv4: KNOCKD-PRE-STRAY-TCP lacks the rule`}},
		} {
			t.Run(c.name, func(t *testing.T) {
				s.t = t
				s.install(p)
				s.run("iptables", append([]string{"-t", "mangle"}, strings.Fields(c.command)...)...)
				got := s.installed().Drift
				for i := range min(len(got), len(c.drift)) {
					if strings.HasSuffix(c.drift[i], "lacks the rule") && strings.HasPrefix(got[i], c.drift[i]) {
						got[i] = c.drift[i]
					}
				}
				if diff := cmp.Diff(c.drift, got); diff != "" {
					t.Error(diff)
				}
				s.install(p)
				if in := s.installed(); len(in.Drift)+len(in.Foreign) > 0 {
					t.Errorf("after an install: %q, %q", in.Drift, in.Foreign)
				}
			})
		}
		s.t = t
	})
}

// TestTheGateAtTheInputTrustsNoGateThatIsMissing: the two are in tables of their own,
// which other tools flush one by one, and which are installed one after the other.
func TestTheGateAtTheInputTrustsNoGateThatIsMissing(t *testing.T) {
	eachFlavour(t, func(t *testing.T) {
		s := newSite(t, "iptables", strict())
		s.listen(3306)
		for _, more := range []string{"", "once = true", "once = true\nprefix = { ipv4 = 24, ipv6 = 64 }"} {
			p := article(t, "place = \"prerouting\"\n"+more)
			s.install(p)
			for _, tool := range []string{"iptables", "ip6tables"} {
				s.run(tool, "-t", "mangle", "-F")
			}
			for _, one := range everyone() {
				s.expect("silent", one, 3306)
				s.send(one, ping, tcp(7), tcp(8000))
				s.expect("open", one, 3306)
				if p.Once {
					s.expect("silent", one, 3306)
				}
			}
			s.do(func() error {
				_, err := s.srv.Remove(t.Context(), nil)
				return err
			})
		}
	})
}

// TestWhatIsTranslatedToTheHostItselfMeetsTheGateAtTheInput: of two addresses of the host
// the one leads to the other, which alone is gated, or both are.
func TestWhatIsTranslatedToTheHostItselfMeetsTheGateAtTheInput(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		s := newSite(t, name, strict())
		s.listen(3306)
		second := s.at(netip.MustParseAddr("198.51.100.9"), netip.MustParseAddr("2001:db8::9"))
		for tool, addrs := range map[string][2]netip.Addr{"iptables": {s.host.Addr4, second.host.Addr4}, "ip6tables": {s.host.Addr6, second.host.Addr6}} {
			if err := s.host.AddAddr(s.host.Interfaces[0].Name, netip.PrefixFrom(addrs[1], addrs[1].BitLen())); err != nil {
				t.Fatal(err)
			}
			s.run(tool, "-t", "nat", "-A", "PREROUTING", "-d", addrs[0].String(), "-p", "tcp", "--dport", "3306", "-j", "DNAT", "--to-destination", addrs[1].String())
		}
		for _, more := range []string{"", `to = ["198.51.100.9/32", "2001:db8::9/128"]`} {
			s.install(article(t, "place = \"prerouting\"\nonce = true\nprefix = { ipv4 = 24, ipv6 = 64 }\n"+more))
			for _, one := range everyone() {
				for _, at := range []*site{s, second} {
					at.expect("silent", one, 3306)
					second.send(one, ping, tcp(7), tcp(8000))
					at.expect("open", one, 3306)
					at.expect("silent", one, 3306)
				}
			}
		}
	})
}

// TestAGateThatMovesKeepsItsLeases: from the input to before destination NAT and back.
func TestAGateThatMovesKeepsItsLeases(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		s := newSite(t, name, strict())
		s.listen(3306)
		for _, place := range []string{"input", "prerouting", "input", "prerouting"} {
			s.install(article(t, "place = \""+place+"\""))
			for _, one := range everyone() {
				if !s.holds("mysql", one) {
					s.expect("silent", one, 3306)
					s.send(one, ping, tcp(7), tcp(8000))
				}
				s.expect("open", one, 3306)
				s.expect("silent", forged(protocol.FamilyOf(one), 2), 3306)
			}
		}
		if len(s.sources()) != len(everyone()) {
			t.Errorf("%d leases", len(s.sources()))
		}
	})
}

func TestRejectingBeforeNATIsForNFTablesOnly(t *testing.T) {
	p := article(t, "place = \"prerouting\"\nclosed = \"reject\"")
	eachBackend(t, func(t *testing.T, name string) {
		s := newSite(t, name, strict())
		s.listen(3306)
		if name == "nftables" {
			s.install(p)
			for _, one := range everyone() {
				s.expect("refused", one, 3306)
				s.send(one, ping, tcp(7), tcp(8000))
				s.expect("open", one, 3306)
			}
			return
		}
		err := s.refuse(p)
		if check := new(server.CheckError); !errors.As(err, &check) || !strings.Contains(err.Error(), "profile mysql: iptables cannot reject before destination NAT") {
			t.Errorf("got %v", err)
		}
	})
}
