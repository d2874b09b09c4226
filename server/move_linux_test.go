package server_test

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
	"knockkit/server"
)

// TestABackendThatTakesOverKeepsTheLeasesAndLeavesNothingBehind moves the rules
// from each backend to the other.
func TestABackendThatTakesOverKeepsTheLeasesAndLeavesNothingBehind(t *testing.T) {
	labtest.NeedTUN(t)
	labtest.NeedRoot(t)
	for _, flavour := range lab.Flavours() {
		for _, way := range [][2]string{{"iptables", "nftables"}, {"nftables", "iptables"}} {
			t.Run(fmt.Sprintf("%s/%s to %s", flavour.Name, way[0], way[1]), func(t *testing.T) {
				t.Setenv("PATH", labtest.PathOf(t, flavour)+":"+os.Getenv("PATH"))
				s := newSite(t, way[0], strict())
				s.listen(3306)
				s.install(article(t, `lease = "1m"`))
				eachFamily(t, func(t *testing.T, one, _ netip.Addr) {
					s.t = t
					s.send(one, ping, tcp(7), tcp(8000))
				})
				s.t = t
				byHand := forged4(9)
				s.grant("mysql", byHand, time.Hour)
				b, _, err := server.OpenBackend(t.Context(), way[1])
				if err != nil {
					t.Fatal(err)
				}
				s.srv = server.New(b, strict())
				s.install(parse(t, "web", "sequence = [\"1001/tcp\", \"1002/tcp\"]\nopen = [\"80/tcp\"]"))
				eachFamily(t, func(t *testing.T, one, other netip.Addr) {
					s.t = t
					s.expect("open", one, 3306)
					s.expect("silent", other, 3306)
					s.send(other, ping, tcp(7), tcp(8000))
					s.expect("open", other, 3306)
				})
				s.t = t
				for _, src := range s.sources() {
					if src.Left > time.Minute && src.Address.Addr() != byHand {
						t.Errorf("%s has %s left of a lease of a minute", src.Address, src.Left)
					}
				}
				s.send(byHand, ping, tcp(7), tcp(8000))
				s.leaves(byHand, 50*time.Minute)
				left := map[string]string{"iptables": "KNOCKD", "nftables": "table inet knockd"}[way[0]]
				if rules := s.saved(); strings.Contains(rules, left) {
					t.Errorf("%s is still there:\n%s", left, rules)
				}
			})
		}
	}
}

// TestMarksComeOutAsTheyWentIn lets rules of the operator set both marks before
// our table, and look at them behind it.
func TestMarksComeOutAsTheyWentIn(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		labtest.Need(t, "nft")
		s := newSite(t, name, strict())
		s.listen(3306)
		labtest.MustRun(t, s.host, `table inet mine {
	chain before { type filter hook prerouting priority mangle; meta mark set 0xbeef; ct mark set 0xcafe; }
	chain after { type filter hook input priority 100; meta mark 0xbeef ct mark 0xcafe counter; meta mark != 0xbeef counter; ct mark != 0xcafe counter; }
}
`, "nft", "-f", "-")
		s.install(article(t, ""))
		eachFamily(t, func(t *testing.T, one, other netip.Addr) {
			s.t = t
			s.send(one, ping, ping, tcp(7), tcp(7), tcp(8000), tcp(9), udp(9), ping, tcp(9))
			s.expect("open", one, 3306)
		})
		out := s.run("nft", "list", "chain", "inet", "mine", "after")
		for _, line := range strings.Split(out, "\n") {
			if strings.Contains(line, "!=") && !strings.Contains(line, "packets 0 ") {
				t.Errorf("a mark was changed: %s", line)
			}
			if strings.Contains(line, "ct mark 0x0000cafe counter") && strings.Contains(line, "packets 0 ") {
				t.Errorf("no packet was seen behind our rules:\n%s", out)
			}
		}
	})
}

func TestAChangedLeaseAppliesToRunningLeases(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		s := newSite(t, name, strict())
		s.listen(3306)
		s.install(article(t, `lease = "1h"`))
		eachFamily(t, func(t *testing.T, one, _ netip.Addr) {
			s.t = t
			s.send(one, ping, tcp(7), tcp(8000))
			s.expect("open", one, 3306)
		})
		s.t = t
		granted := time.Now()
		s.install(article(t, `lease = "3s"`))
		for _, src := range s.sources() {
			if src.Left > 3*time.Second {
				t.Errorf("%s still has %s left", src.Address, src.Left)
			}
		}
		labtest.Eventually(t, 6*time.Second, func() error {
			if v := s.verdict(lab.ForgedAddr4(1), 3306); v != "silent" {
				return fmt.Errorf("after %s the port is %s", time.Since(granted), v)
			}
			return nil
		})
		// What has ended stays so, however long a lease is from now on.
		for _, lease := range []string{"1h", "0"} {
			s.install(article(t, "lease = \""+lease+"\""))
			s.expect("silent", lab.ForgedAddr4(1), 3306)
			s.expect("silent", lab.ForgedAddr6(1), 3306)
			if left := s.sources(); len(left) > 0 {
				t.Errorf("with lease %s: %+v", lease, left)
			}
		}
	})
}

// A lease of a time of its own is one of the profile as it is now.
func TestALeaseGivenByHandEndsWhereItsProfileTakesItBack(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		s := newSite(t, name, strict())
		s.listen(3306)
		for _, change := range []string{`from = ["10.9.7.0/24", "2001:db8:9:7::/64"]`, `prefix = { ipv4 = 24, ipv6 = 64 }`} {
			s.install(article(t, ""))
			eachFamily(t, func(t *testing.T, one, _ netip.Addr) {
				s.t = t
				s.do(func() error {
					_, err := s.srv.Grant(t.Context(), "mysql", single(one), 2*time.Hour)
					return err
				})
				s.expect("open", one, 3306)
			})
			s.t = t
			s.install(article(t, change))
			eachFamily(t, func(t *testing.T, one, _ netip.Addr) {
				s.t = t
				s.expect("silent", one, 3306)
			})
			s.t = t
		}
	})
}

// A lease for a prefix is one for those of it who may come at all.
func TestALeaseGivenByHandForAPrefixLetsNobodyInWhoMayNotCome(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		s := newSite(t, name, strict())
		s.listen(3306)
		p := article(t, `prefix = { ipv4 = 24 }
from = ["10.9.0.0/28", "10.9.0.32/28", "10.9.8.0/24"]`)
		s.install(p)
		s.do(func() error {
			_, err := s.srv.Grant(t.Context(), "mysql", single(lab.ForgedAddr4(1)), 2*time.Hour)
			return err
		})
		for range 2 { // an install in between keeps it
			for i, want := range map[int]string{1: "open", 15: "open", 16: "silent", 32: "open", 200: "silent"} {
				s.expect(want, lab.ForgedAddr4(i), 3306)
			}
			if held := s.sources(); len(held) != 1 || held[0].Address.String() != "10.9.0.0/24" {
				t.Errorf("held: %+v", held)
			}
			s.install(p)
		}
		s.do(func() error {
			_, err := s.srv.Revoke(t.Context(), "mysql", single(lab.ForgedAddr4(1)), false)
			return err
		})
		s.expect("silent", lab.ForgedAddr4(1), 3306)
	})
}
