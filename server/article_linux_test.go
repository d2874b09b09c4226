package server_test

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"knockkit/internal/lab/labtest"
	"knockkit/protocol"
)

func TestTheArticlesSequenceOpensForTheAddressThatKnockedAndForNobodyElse(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		s := newSite(t, name, strict())
		s.listen(3306)
		p := article(t, `lease = "2s"`)
		s.install(p)
		eachFamily(t, func(t *testing.T, one, other netip.Addr) {
			s.t = t
			s.expect("silent", one, 3306)
			s.send(one, ping, tcp(7), tcp(8000))
			s.expect("open", one, 3306)
			s.expect("silent", other, 3306)
			labtest.Eventually(t, 4*time.Second, func() error {
				if s.verdict(one, 3306) != "silent" {
					return errors.New("the lease has not ended")
				}
				return nil
			})
			s.send(one, ping, tcp(8000), tcp(7))
			s.expect("silent", one, 3306)
		})
	})
}

func TestRemovalLeavesTheHostsRulesAsTheyWere(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		s := newSite(t, name, strict())
		for _, tool := range []string{"iptables", "ip6tables"} {
			s.run(tool, "-N", "MINE")
			s.run(tool, "-A", "INPUT", "-p", "tcp", "--dport", "22", "-m", "comment", "--comment", "the operator's own", "-j", "ACCEPT")
			s.run(tool, "-A", "INPUT", "-j", "MINE")
			s.run(tool, "-P", "FORWARD", "DROP")
		}
		before := s.saved()
		s.install(article(t, ""), parse(t, "web", `sequence = ["1001/tcp", "1002/udp"]
open = ["80/tcp", "8080-8090/tcp", "53/udp"]
cut = true
close = "999/udp"`))
		if s.saved() == before {
			t.Fatal("nothing was installed")
		}
		s.do(func() error {
			_, err := s.srv.Remove(t.Context(), nil)
			return err
		})
		if after := s.saved(); after != before {
			t.Errorf("before:\n%s\nafter:\n%s", before, after)
		}
	})
}

func TestARepeatedKnockDoesNotStartOverAndAnotherPortDoes(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		s := newSite(t, name, strict())
		s.install(article(t, ""))
		eachFamily(t, func(t *testing.T, one, other netip.Addr) {
			s.t = t
			s.send(one, ping, ping, tcp(7), tcp(7), tcp(7), tcp(8000))
			if !s.holds("mysql", one) {
				t.Error("doubled knocks locked the client out")
			}
			s.send(other, ping, tcp(7), tcp(9), tcp(8000))
			if s.holds("mysql", other) {
				t.Error("another port in between did not start over")
			}
		})
	})
}

func TestInstallBesideWhatIsInstalledAndRemoveOneOfTwo(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		s := newSite(t, name, strict())
		s.listen(3306)
		s.listen(80)
		a := article(t, "")
		b := parse(t, "web", "sequence = [\"1001/tcp\", \"1002/tcp\"]\nopen = [\"80/tcp\"]")
		s.install(a)
		s.install(b)
		eachFamily(t, func(t *testing.T, one, other netip.Addr) {
			s.t = t
			s.expect("silent", one, 3306)
			s.expect("silent", one, 80)
			s.send(one, tcp(1001), tcp(1002))
			s.expect("open", one, 80)
		})
		s.t = t
		s.do(func() error {
			_, err := s.srv.Remove(t.Context(), []string{"mysql"})
			return err
		})
		eachFamily(t, func(t *testing.T, one, other netip.Addr) {
			s.t = t
			s.expect("open", one, 3306)
			s.expect("open", one, 80)
			s.expect("silent", other, 80)
		})
	})
}

// TestPositionsAndLeasesSurviveAReloadThatRenumbersAllStates adds a profile in
// front of the others that shares a position with one of them.
func TestPositionsAndLeasesSurviveAReloadThatRenumbersAllStates(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		settings := strict()
		settings.Policy.Ban = &protocol.Ban{After: 2, For: time.Minute}
		s := newSite(t, name, settings)
		s.listen(3306)
		s.install(article(t, ""))
		eachFamily(t, func(t *testing.T, holder, knocker netip.Addr) {
			s.t = t
			s.send(holder, ping, tcp(7), tcp(8000))
			s.send(knocker, ping, tcp(7))
		})
		s.t = t
		s.install(parse(t, "aaa", "sequence = [\"icmp\", \"500/tcp\", \"501/tcp\"]\nopen = [\"80/tcp\"]"),
			parse(t, "aab", "sequence = [\"400/udp\", \"401/udp\"]\nopen = [\"81/tcp\"]"))
		eachFamily(t, func(t *testing.T, holder, knocker netip.Addr) {
			s.t = t
			s.expect("open", holder, 3306)
			s.send(knocker, tcp(8000))
			s.expect("open", knocker, 3306)
		})
	})
}

func TestAFailedInstallChangesNothing(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		s := newSite(t, name, strict())
		s.install(article(t, ""))
		_ = s.refuse(parse(t, "web", "sequence = [\"1001/tcp\", \"1002/tcp\"]\nopen = [\"80/tcp\"]\n[opened]\nip6tables = [\"-m nosuchmatch -j LOG\"]\nnftables = [\"nosuchstatement\"]"))
	})
}
