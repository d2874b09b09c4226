package server_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
	"knockkit/protocol"
	"knockkit/server"
)

// webProfile is a profile that 7001, 8001 open, with more keys.
func webProfile(t testing.TB, more string) *protocol.Profile {
	text := more
	if !strings.Contains(more, "sequence") {
		text = "sequence = [\"7001/tcp\", \"8001/tcp\"]\n" + more
	}
	return parse(t, "web", text)
}

// leased gives a lease of web by a knock, and one by hand.
func (s *site) leased(one, other netip.Addr) {
	s.t.Helper()
	s.send(one, tcp(7001), tcp(8001))
	s.grant("web", other, 2*time.Hour)
}

func (s *site) removeAll() {
	s.t.Helper()
	s.do(func() error {
		_, err := s.srv.Remove(s.t.Context(), nil)
		return err
	})
}

// TestALeaseIsForWhatItWasGivenFor: who holds a lease of one version of a profile is let
// in by another nowhere else.
func TestALeaseIsForWhatItWasGivenFor(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		s := newSite(t, name, strict())
		for _, port := range []uint16{22, 80, 84} {
			s.listen(port)
		}
		here := fmt.Sprintf("to = [\"%s/32\", \"%s/128\"]\n", s.host.Addr4, s.host.Addr6)
		there := "to = [\"198.51.100.0/24\", \"2001:db8::/32\"]\n"
		in := fmt.Sprintf("interface = %q\n", s.host.Interfaces[0].Name)
		const ssh, http = "open = [\"22/tcp\"]\n", "open = [\"80/tcp\"]\n"
		const both = "open = [\"22/tcp\", \"80/tcp\"]\n"
		for _, c := range []struct {
			name    string
			was, is string
			port    uint16
			want    string
		}{
			{"another port", http, ssh, 22, "silent"},
			{"a port more", http, both, 80, "silent"},
			{"a port less", both, http, 80, "open"},
			{"the same ports in two ranges", "open = [\"80-85/tcp\"]", "open = [\"80-82/tcp\", \"83-85/tcp\"]", 84, "open"},
			{"a range that is longer", "open = [\"80-83/tcp\"]", "open = [\"80-84/tcp\"]", 84, "silent"},
			{"another protocol", "open = [\"80/udp\"]", http, 80, "silent"},
			{"any interface", http + in, http, 80, "silent"},
			{"one interface of all", http, http + in, 80, "open"},
			{"more destinations", http + here, http + there, 80, "silent"},
			{"any destination", http + here, http, 80, "silent"},
			{"fewer destinations", http + there, http + here, 80, "open"},
			{"more than one connection", http + "once = true", http, 80, "silent"},
			{"one connection", http, http + "once = true", 80, "open"},
			{"another sequence", http, http + "sequence = [\"7002/tcp\", \"8002/tcp\"]", 80, "open"},
			{"a longer lease", http, http + "lease = \"2h\"", 80, "open"},
		} {
			t.Run(c.name, func(t *testing.T) {
				s.t = t
				s.install(webProfile(t, c.was))
				holders := map[netip.Addr]bool{}
				for _, f := range protocol.Families() {
					byKnock, byHand := forged(f, 1), forged(f, 2)
					holders[byKnock], holders[byHand] = true, true
					s.send(byKnock, tcp(7001), tcp(8001))
					d := 2 * time.Hour
					if strings.Contains(c.was, "once") {
						d = 0
					}
					s.grant("web", byHand, d)
				}
				s.install(webProfile(t, c.is))
				if n := len(s.sources()); c.want == "open" && n != 4 || c.want != "open" && n != 0 {
					t.Errorf("%d leases are left", n)
				}
				for holder := range holders {
					s.expect(c.want, holder, c.port)
				}
				if c.want == "silent" { // from now on all is as ever
					for _, f := range protocol.Families() {
						s.leased(forged(f, 1), forged(f, 2))
						s.expect("open", forged(f, 1), c.port)
						s.expect("open", forged(f, 2), c.port)
						s.expect("silent", forged(f, 3), c.port)
					}
				}
				s.removeAll()
			})
		}
	})
}

// TestTheHolderOfALeaseGetsNowhereElseWhileTheRulesChange: it is a stranger at a port that
// stays gated, at every moment of the commit that brings the port to its profile.
func TestTheHolderOfALeaseGetsNowhereElseWhileTheRulesChange(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		s := newSite(t, name, strict())
		s.listen(22)
		s.listen(80)
		s.install(parse(t, "ssh", "sequence = [\"7000/tcp\", \"8000/tcp\"]\nopen = [\"22/tcp\"]"))
		sent := 0
		for round := range 8 {
			s.install(webProfile(t, "open = [\"80/tcp\"]"))
			holders := []netip.Addr{lab.ForgedAddr4(100 + round), lab.ForgedAddr6(100 + round)}
			for _, holder := range holders {
				s.send(holder, tcp(7001), tcp(8001))
				s.expect("open", holder, 80)
			}
			s.answers()
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() {
				for ctx.Err() == nil {
					for _, holder := range holders {
						syn := lab.SYN(netip.AddrPortFrom(holder, uint16(20_000+sent%40_000)), netip.AddrPortFrom(s.dest(holder), 22))
						if err := s.wire.Inject(syn); err != nil {
							done <- err
							return
						}
						sent++
					}
				}
				done <- nil
			}()
			s.install(webProfile(t, "open = [\"80/tcp\", \"22/tcp\"]"))
			stop()
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			for _, p := range s.answers() {
				if p.SrcPort == 22 {
					t.Fatalf("round %d, one of %d: %+v", round, sent, p)
				}
			}
		}
		if sent < 1000 {
			t.Errorf("only %d packets were sent meanwhile", sent)
		}
	})
}

func TestALeaseIsThereWhenTheCommitThatWouldEndItFails(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		s := newSite(t, name, strict())
		s.listen(80)
		s.install(webProfile(t, "open = [\"80/tcp\"]"))
		for _, f := range protocol.Families() {
			s.leased(forged(f, 1), forged(f, 2))
		}
		const bad = "open = [\"22/tcp\"]\n[opened]\niptables = [\"-j NOSUCH\"]\nip6tables = [\"-j NOSUCH\"]\nnftables = [\"no such words\"]"
		s.do(func() error {
			if _, err := s.srv.Install(t.Context(), []*protocol.Profile{webProfile(t, bad)}, server.InstallOptions{}); err == nil {
				t.Error("it was installed")
			}
			return nil
		})
		for _, f := range protocol.Families() {
			s.expect("open", forged(f, 1), 80)
			s.expect("open", forged(f, 2), 80)
		}
	})
}

// try commits profiles as a trial does, and returns what puts back what was there.
func (s *site) try(profiles ...*protocol.Profile) (undo func()) {
	s.t.Helper()
	var saved string
	s.do(func() (err error) {
		if saved, err = s.srv.Save(s.t.Context()); err != nil {
			return err
		}
		return s.srv.Try(s.t.Context(), profiles)
	})
	return func() { s.do(func() error { return s.srv.PutBack(s.t.Context(), saved) }) }
}

// TestATrialThatIsUndoneGivesBackTheLeasesThatItEnded, and ends those that were given
// for what it opened.
func TestATrialThatIsUndoneGivesBackTheLeasesThatItEnded(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		s := newSite(t, name, strict())
		s.listen(22)
		s.listen(80)
		const ssh, http, both = "open = [\"22/tcp\"]", "open = [\"80/tcp\"]", "open = [\"22/tcp\", \"80/tcp\"]"
		for _, c := range []struct {
			name, was, tried string
			during           string // what holders of before get at the tried port
			port, triedPort  uint16
		}{
			{"another port", http, ssh, "silent", 80, 22},
			{"a port more", http, both, "silent", 80, 80},
			{"a port less", both, http, "open", 22, 80},
		} {
			t.Run(c.name, func(t *testing.T) {
				s.t = t
				s.install(webProfile(t, c.was))
				for _, f := range protocol.Families() {
					s.leased(forged(f, 1), forged(f, 2))
				}
				undo := s.try(webProfile(t, c.tried))
				for _, f := range protocol.Families() {
					s.expect(c.during, forged(f, 1), c.triedPort)
					s.expect(c.during, forged(f, 2), c.triedPort)
					s.send(forged(f, 3), tcp(7001), tcp(8001))
					s.expect("open", forged(f, 3), c.triedPort)
				}
				undo()
				for _, f := range protocol.Families() {
					s.expect("open", forged(f, 1), c.port)
					s.expect("open", forged(f, 2), c.port)
					if c.name != "a port more" { // there it was given for more than that
						s.expect("silent", forged(f, 3), c.port)
					}
				}
				s.removeAll()
			})
		}
	})
}

// TestAProfileThatTakesANameOverTakesNoLeasesWithIt: the kernel may keep a table of the
// one before, after a trial that was kept or for a rule of somebody else.
func TestAProfileThatTakesANameOverTakesNoLeasesWithIt(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		s := newSite(t, name, strict())
		s.listen(22)
		other := parse(t, "other", "sequence = [\"7009/tcp\"]\nopen = [\"99/tcp\"]")
		wide := "\nprefix = { ipv4 = 31, ipv6 = 127 }" // whose table is the only one that tells holders
		remove := map[string]func(){
			"a trial that was kept": func() { s.try(other) },
			"a remove":              s.removeAll,
		}
		if name == "iptables" {
			remove["a remove beside a rule of somebody else"] = func() {
				s.run("iptables", "-A", "FORWARD", "-m", "recent", "--rcheck", "--name", "web.open31.KNOCKD4", "--mask", "255.255.255.254", "--rsource")
				s.run("ip6tables", "-A", "FORWARD", "-m", "recent", "--rcheck", "--name", "web.open127.KNOCKD6", "--mask", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe", "--rsource")
				s.removeAll()
			}
		}
		for how, remove := range remove {
			t.Run(how, func(t *testing.T) {
				s.t = t
				s.install(webProfile(t, "open = [\"80/tcp\"]"+wide), other)
				for _, f := range protocol.Families() {
					s.leased(forged(f, 1), forged(f, 2))
				}
				remove()
				s.install(webProfile(t, "open = [\"22/tcp\"]"+wide))
				for _, f := range protocol.Families() {
					s.expect("silent", forged(f, 1), 22)
					s.expect("silent", forged(f, 2), 22)
					s.send(forged(f, 4), tcp(7001), tcp(8001))
					s.expect("open", forged(f, 4), 22)
				}
				s.removeAll()
			})
		}
	})
}

// TestALeaseThatMovesToAnotherBackendIsForWhatItWasGivenFor moves the rules from each
// backend to the other, and changes the profile with it.
func TestALeaseThatMovesToAnotherBackendIsForWhatItWasGivenFor(t *testing.T) {
	labtest.NeedTUN(t)
	labtest.NeedRoot(t)
	for _, flavour := range lab.Flavours() {
		for _, way := range [][2]string{{"iptables", "nftables"}, {"nftables", "iptables"}} {
			t.Run(fmt.Sprintf("%s/%s to %s", flavour.Name, way[0], way[1]), func(t *testing.T) {
				t.Setenv("PATH", labtest.PathOf(t, flavour)+":"+os.Getenv("PATH"))
				s := newSite(t, way[0], strict())
				s.listen(22)
				s.listen(81)
				once := parse(t, "once", "sequence = [\"7002/tcp\", \"8002/tcp\"]\nopen = [\"81/tcp\"]\nonce = true")
				s.install(webProfile(t, "open = [\"80/tcp\"]"), once)
				for _, f := range protocol.Families() {
					s.leased(forged(f, 1), forged(f, 2))
					s.send(forged(f, 4), tcp(7002), tcp(8002))
				}
				b, _, err := server.OpenBackend(t.Context(), way[1])
				if err != nil {
					t.Fatal(err)
				}
				s.srv = server.New(b, strict())
				s.install(webProfile(t, "open = [\"22/tcp\"]"))
				for _, f := range protocol.Families() {
					s.expect("silent", forged(f, 1), 22)
					s.expect("silent", forged(f, 2), 22)
					s.expect("open", forged(f, 4), 81)
					s.expect("silent", forged(f, 4), 81)
				}
			})
		}
	}
}
