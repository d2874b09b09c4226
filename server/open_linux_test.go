package server_test

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"knockkit/internal/lab/labtest"
	"knockkit/protocol"
)

func TestAProfileOpensAllItsPortsAndRangesAndNoOther(t *testing.T) {
	web := []*protocol.Profile{parse(t, "web", `sequence = ["1001/tcp", "1002/udp"]
open = ["80/tcp", "8080-8090/tcp", "6000-6010/tcp", "65535/tcp"]`)}
	gated(t, web, func(s *site, one, other netip.Addr) {
		opened := []uint16{80, 6000, 6010, 8080, 8090, 65535}
		beside := []uint16{79, 81, 5999, 6011, 8079, 8091, 65534} // nothing listens, nothing is gated
		for _, port := range opened {
			s.expect("silent", one, port)
		}
		s.send(one, tcp(1001), udp(1002))
		for _, port := range opened {
			s.expect("open", one, port)
			s.expect("silent", other, port)
		}
		for _, port := range beside {
			s.expect("refused", other, port)
		}
	})
}

func TestAPortOfTwoProfilesIsOpenToHoldersOfEitherAndShutTheStrictestWay(t *testing.T) {
	two := []*protocol.Profile{
		parse(t, "admins", "sequence = [\"1001/tcp\", \"1002/tcp\"]\nopen = [\"80/tcp\", \"81/tcp\"]\nclosed = \"reject\""),
		parse(t, "deploy", "sequence = [\"1003/tcp\", \"1004/tcp\"]\nopen = [\"80/tcp\", \"82/tcp\"]\nclosed = \"drop\""),
		parse(t, "guests", "sequence = [\"1005/tcp\", \"1006/tcp\"]\nopen = [\"81/tcp\"]\nclosed = \"continue\""),
	}
	gated(t, two, func(s *site, one, other netip.Addr) {
		s.expect("silent", one, 80)  // drop before reject
		s.expect("refused", one, 81) // reject before continue
		s.expect("silent", one, 82)
		s.send(one, tcp(1001), tcp(1002))
		s.send(other, tcp(1003), tcp(1004))
		for _, want := range []struct {
			port       uint16
			one, other string
		}{{80, "open", "open"}, {81, "open", "refused"}, {82, "silent", "open"}} {
			s.expect(want.one, one, want.port)
			s.expect(want.other, other, want.port)
		}
	})
}

func TestAStepsOwnTimeCountsForThatStepOnly(t *testing.T) {
	steps := `sequence = ["icmp", { knock = "7/tcp", within = "1s" }, { knock = "8000/tcp", within = "30s" }]
open = ["3306/tcp"]`
	eachBackend(t, func(t *testing.T, name string) {
		s := newSite(t, name, strict())
		s.listen(3306)
		s.install(parse(t, "mysql", steps))
		for _, src := range everyone() {
			s.send(src, ping, tcp(7)) // waits for 8000, which has 30 s
			s.send(src.Next(), ping)  // waits for 7, which has 1 s
		}
		labtest.Eventually(t, 5*time.Second, func() error {
			if n := len(s.sources()); n > len(everyone()) {
				return errors.New("the short time has not passed")
			}
			return nil
		})
		for _, src := range everyone() {
			s.send(src.Next(), tcp(7), tcp(8000))
			s.expect("silent", src.Next(), 3306)
			s.send(src, tcp(8000))
			s.expect("open", src, 3306)
		}
	})
}

func TestWithoutALimitAPositionWaits(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		s := newSite(t, name, strict())
		s.listen(3306)
		s.install(parse(t, "short", "sequence = [\"1001/tcp\", \"1002/tcp\"]\nopen = [\"80/tcp\"]\nwithin = \"1s\""), article(t, `within = "0"`))
		for _, src := range everyone() {
			s.send(src, ping, tcp(7))
			s.send(src.Next(), tcp(1001))
		}
		labtest.Eventually(t, 5*time.Second, func() error {
			if n := len(s.sources()); n > len(everyone()) {
				return errors.New("the other profile's time has not passed")
			}
			return nil
		})
		for _, src := range everyone() {
			s.send(src, tcp(8000))
			s.expect("open", src, 3306)
		}
	})
}

// TestExtraRulesRunForTheHolderBeforeTheConnectionIsAccepted has rules that reject
// one holder of two.
func TestExtraRulesRunForTheHolderBeforeTheConnectionIsAccepted(t *testing.T) {
	extra := alone(t, `[opened]
iptables = ["-s 10.9.0.2/32 -j MARK --set-mark 7", "-m mark --mark 7 -j REJECT"]
ip6tables = ["-s 2001:db8:9:2::/64 -j MARK --set-mark 7", "-m mark --mark 7 -j REJECT"]
nftables = ["ip saddr 10.9.0.2 mark set 7", "ip6 saddr 2001:db8:9:2::/64 mark set 7", "mark 7 reject"]`)
	gated(t, extra, func(s *site, one, two netip.Addr) {
		s.expect("silent", two, 3306) // no holder: the rules are not asked
		s.send(one, ping, tcp(7), tcp(8000))
		s.send(two, ping, tcp(7), tcp(8000))
		s.expect("open", one, 3306)
		s.expect("refused", two, 3306)
	})
}
