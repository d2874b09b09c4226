package server_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"knockkit/internal/kernel/backend"
	"knockkit/internal/lab"
	"knockkit/protocol"
	"knockkit/server"
)

// TestALeaseThatIsGivenBackDuringATrialIsNotBackAfterItsUndo, whatever the trial does to the
// profile. Who does not give it back keeps it.
func TestALeaseThatIsGivenBackDuringATrialIsNotBackAfterItsUndo(t *testing.T) {
	const was = "open = [\"80/tcp\", \"79/tcp\"]\nlease = \"1h\"\nclose = \"9999/tcp\"\n"
	other := func(t testing.TB) *protocol.Profile {
		return parse(t, "other", "sequence = [\"7009/tcp\", \"8009/tcp\"]\nopen = [\"99/tcp\"]")
	}
	web := func(text string) func(testing.TB) []*protocol.Profile {
		return func(t testing.TB) []*protocol.Profile { return []*protocol.Profile{webProfile(t, text), other(t)} }
	}
	trials := []struct {
		name  string
		tried func(testing.TB) []*protocol.Profile
		one   bool // with iptables, the table of leases is the one of before
	}{
		{"a shorter lease", web("open = [\"80/tcp\", \"79/tcp\"]\nlease = \"30m\"\nclose = \"9999/tcp\""), true},
		{"a longer lease", web("open = [\"80/tcp\", \"79/tcp\"]\nlease = \"2h\"\nclose = \"9999/tcp\""), true},
		{"a lease that is over at once", web("open = [\"80/tcp\", \"79/tcp\"]\nlease = \"1s\"\nclose = \"9999/tcp\""), true},
		{"a lease without end", web("open = [\"80/tcp\", \"79/tcp\"]\nlease = \"0\"\nclose = \"9999/tcp\""), true},
		{"a port less", web("open = [\"80/tcp\"]\nlease = \"1h\"\nclose = \"9999/tcp\""), true},
		{"a port more", web("open = [\"80/tcp\", \"79/tcp\", \"81/tcp\"]\nlease = \"1h\"\nclose = \"9999/tcp\""), false},
		{"no close, and a port more", web("open = [\"80/tcp\", \"79/tcp\", \"81/tcp\"]\nlease = \"1h\""), false},
		{"only IPv4", web("open = [\"80/tcp\", \"79/tcp\"]\nlease = \"1h\"\nclose = \"9999/tcp\"\nfamily = \"ipv4\""), false},
		{"without the profile", func(t testing.TB) []*protocol.Profile { return []*protocol.Profile{other(t)} }, false},
		{"without any profile", func(t testing.TB) []*protocol.Profile { return nil }, false},
	}
	eachBackend(t, func(t *testing.T, name string) {
		s := newSite(t, name, strict())
		s.listen(80)
		for _, c := range trials {
			if name == "iptables" && !c.one {
				continue
			}
			t.Run(c.name, func(t *testing.T) {
				s.t = t
				s.install(webProfile(t, was), other(t))
				for _, f := range protocol.Families() {
					s.leased(forged(f, 1), forged(f, 2))
					s.leased(forged(f, 3), forged(f, 4))
				}
				undo := s.try(c.tried(t)...)
				for _, f := range protocol.Families() {
					s.send(forged(f, 1), tcp(9999))
					s.send(forged(f, 2), tcp(9999))
				}
				undo()
				for _, f := range protocol.Families() {
					s.expect("silent", forged(f, 1), 80)
					s.expect("open", forged(f, 3), 80)
					s.expect("open", forged(f, 4), 80)
					if name == "nftables" { // with iptables, a lease that was given by hand cannot be given back
						s.expect("silent", forged(f, 2), 80)
					}
				}
				s.sources() // and nothing has drifted
				s.removeAll()
			})
		}
	})
}

// TestALeaseForOneConnectionThatIsUsedUpDuringATrialIsNotBackAfterItsUndo: the trial has leases of
// its own, and who uses such a one up would have used up the one before.
func TestALeaseForOneConnectionThatIsUsedUpDuringATrialIsNotBackAfterItsUndo(t *testing.T) {
	s := newSite(t, "nftables", strict())
	s.listen(80)
	once := func(more string) *protocol.Profile { return webProfile(t, "once = true\n"+more) }
	for name, tried := range map[string]*protocol.Profile{
		"a port more":     once("open = [\"80/tcp\", \"81/tcp\"]"),
		"a shorter lease": once("open = [\"80/tcp\"]\nlease = \"30m\""),
	} {
		t.Run(name, func(t *testing.T) {
			s.t = t
			s.install(once("open = [\"80/tcp\"]"))
			uses, keeps := lab.ForgedAddr4(1), lab.ForgedAddr4(2)
			for _, src := range []netip.Addr{uses, keeps} {
				s.send(src, tcp(7001), tcp(8001))
			}
			undo := s.try(tried)
			s.send(uses, tcp(7001), tcp(8001))
			s.expect("open", uses, 80)
			undo()
			s.expect("silent", uses, 80)
			s.expect("open", keeps, 80)
			s.expect("silent", keeps, 80)
			s.removeAll()
		})
	}
}

// TestATimeGoesOnDuringATrial: no lease, ban or fall that the undo brings back lasts longer for it.
func TestATimeGoesOnDuringATrial(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		const short = 3 * time.Second
		s := newSite(t, name, banning(short))
		for _, port := range []uint16{80, 81} {
			s.listen(port)
		}
		beside := parse(t, "beside", "sequence = [\"7002/tcp\", \"8002/tcp\"]\nopen = [\"81/tcp\"]")
		for tried, more := range map[string]string{
			"a port more":         "open = [\"80/tcp\", \"82/tcp\"]",
			"a shorter lease":     "open = [\"80/tcp\"]\nlease = \"1s\"",
			"a lease without end": "open = [\"80/tcp\"]\nlease = \"0\"",
			"gone":                "",
		} {
			t.Run(tried, func(t *testing.T) {
				s.t = t
				s.install(webProfile(t, "open = [\"80/tcp\"]"), beside)
				one, other, bad := lab.ForgedAddr4(1), lab.ForgedAddr4(2), lab.ForgedAddr4(3)
				s.send(bad, tcp(7001), tcp(9), tcp(7001), tcp(9))
				if !s.banned(bad) {
					t.Fatal("nobody is banned")
				}
				for _, profile := range []string{"web", "beside"} { // so those of beside end last
					s.grant(profile, one, 0)
					s.grant(profile, other, short+time.Second) // with iptables it ends at a whole second, half of one too soon at most
				}
				profiles := []*protocol.Profile{beside}
				if more != "" {
					profiles = append(profiles, webProfile(t, more))
				}
				with := s.srv
				s.srv = s.serve(name, strict())
				undo := s.try(profiles...)
				s.untilSilent(other, 81)
				s.srv = with
				undo()
				s.expect("silent", other, 80)
				s.expect("open", one, 80)
				if s.banned(bad) {
					t.Error("a ban that was over is back")
				}
				if web, beside := s.left("web", one), s.left("beside", one); web > beside+time.Second {
					t.Errorf("the lease has %s left, and one that was given later %s", web, beside)
				}
				s.removeAll()
			})
		}
	})
}

// serve returns the site's server with other settings.
func (s *site) serve(name string, settings server.Settings) *server.Server {
	s.t.Helper()
	b, _, err := server.OpenBackend(s.t.Context(), name)
	if err != nil {
		s.t.Fatal(err)
	}
	return server.New(b, settings)
}

// left returns how much of a lease is left.
func (s *site) left(profile string, src netip.Addr) time.Duration {
	s.t.Helper()
	all := s.sources()
	i := slices.IndexFunc(all, func(x backend.Source) bool { return x.Profile == profile && x.Address == single(src) })
	if i < 0 {
		s.t.Errorf("%s has no lease of %s", src, profile)
		return 0
	}
	return all[i].Left
}

// TestWhatATrialKeepsForItsUndoGoesWithTheNextInstall, and is no lease, no ban and no drift
// meanwhile; also after a lease was given by hand, which changes rules.
func TestWhatATrialKeepsForItsUndoGoesWithTheNextInstall(t *testing.T) {
	s := newSite(t, "nftables", banning(time.Hour))
	s.listen(80)
	s.listen(81)
	more := webProfile(t, "open = [\"80/tcp\", \"81/tcp\"]")
	s.install(webProfile(t, "open = [\"80/tcp\"]\nclose = \"9999/tcp\""))
	s.leased(lab.ForgedAddr4(1), lab.ForgedAddr4(2))
	s.send(lab.ForgedAddr4(3), tcp(7001), tcp(9))
	s.srv = s.serve("nftables", strict())
	s.try(more)
	s.grant("web", lab.ForgedAddr4(4), 2*time.Hour)
	for src, want := range map[int]string{1: "silent", 2: "silent", 4: "open"} {
		s.expect(want, lab.ForgedAddr4(src), 81)
	}
	if all := s.sources(); len(all) != 1 {
		t.Errorf("there are %v", all)
	}
	names := s.run("nft", "list", "sets")
	for _, want := range []string{"kept-open4-web", "kept-given4-web", "kept-fall4.1"} {
		if !strings.Contains(names, want) {
			t.Errorf("no set %s:\n%s", want, names)
		}
	}
	s.install(more)
	if names := s.run("nft", "list", "sets"); strings.Contains(names, "kept") {
		t.Errorf("they are still there:\n%s", names)
	}
	s.expect("open", lab.ForgedAddr4(4), 81)
	s.sources()
}

// TestATrialAfterOneThatWasConfirmedHasNoLeasesOfThat, whose copies are there until the next commit.
func TestATrialAfterOneThatWasConfirmedHasNoLeasesOfThat(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		s := newSite(t, name, strict())
		s.listen(80)
		web := func(lease string) *protocol.Profile {
			return webProfile(t, "open = [\"80/tcp\"]\nlease = \""+lease+"\"")
		}
		revoked, holder := lab.ForgedAddr4(1), lab.ForgedAddr4(2)
		s.install(web("1h"))
		s.grant("web", revoked, 0)
		s.grant("web", holder, 0)
		s.try(web("30m"))
		s.revoke("web", revoked, false)
		s.try(web("2h"))()
		s.expect("silent", revoked, 80)
		s.expect("open", holder, 80)
	})
}

// TestATrialThatNeverCameAboutBringsNothingBack: its undo changes nothing, also where the copies of an
// earlier trial, which was confirmed, have a lease that was revoked since.
func TestATrialThatNeverCameAboutBringsNothingBack(t *testing.T) {
	bogus := parse(t, "bogus", "sequence = [\"7009/tcp\", \"8009/tcp\"]\nopen = [\"99/tcp\"]\n[opened]\nnftables = [\"no such words\"]\niptables = [\"-m nosuch\"]")
	eachBackend(t, func(t *testing.T, name string) {
		s := newSite(t, name, strict())
		s.listen(80)
		web := func(more string) *protocol.Profile { return webProfile(t, "open = [\"80/tcp\"]\n"+more) }
		revoked, holder := lab.ForgedAddr4(1), lab.ForgedAddr4(2)
		s.install(web("lease = \"10m\""))
		s.grant("web", revoked, 0)
		s.grant("web", holder, 0)
		s.try(web("lease = \"20m\""))
		s.revoke("web", revoked, false)
		list := func() string {
			if name == "nftables" {
				return s.run("nft", "-s", "-t", "list", "ruleset")
			}
			return s.run("iptables", "-S") + s.run("ip6tables", "-S")
		}
		before := list()
		var saved string
		s.do(func() (err error) {
			if saved, err = s.srv.Save(t.Context()); err != nil {
				return err
			}
			if s.srv.Try(t.Context(), []*protocol.Profile{web("lease = \"30m\""), bogus}) == nil {
				t.Error("it came about")
			}
			return s.srv.PutBack(t.Context(), saved)
		})
		if now := list(); now != before {
			t.Errorf("the rules were\n%s\nand are\n%s", before, now)
		}
		s.expect("silent", revoked, 80)
		s.expect("open", holder, 80)
		s.sources()
		if name != "nftables" {
			return
		}
		s.run("nft", "add chain inet knockd barrier") // as a commit leaves it that is killed before it changes rules
		s.do(func() error { return s.srv.PutBack(t.Context(), saved) })
		s.expect("silent", revoked, 80)
		s.expect("open", holder, 80)
		s.sources()
	})
}

// TestTheUndoOfAnEarlierTrialBringsNoLeaseBackThatALaterOneHasKept: who has been told to put back what was before a trial
// that was confirmed takes no lease out of the copies of the trial after that.
func TestTheUndoOfAnEarlierTrialBringsNoLeaseBackThatALaterOneHasKept(t *testing.T) {
	s := newSite(t, "nftables", strict())
	s.listen(80)
	web := func(lease string) *protocol.Profile {
		return webProfile(t, "open = [\"80/tcp\"]\nlease = \""+lease+"\"")
	}
	s.install(web("10m"))
	s.grant("web", lab.ForgedAddr4(1), 0)
	first := s.try(web("20m"))
	second := s.try(web("30m"))
	s.revoke("web", lab.ForgedAddr4(1), false)
	first()
	s.expect("silent", lab.ForgedAddr4(1), 80)
	second()
	s.expect("silent", lab.ForgedAddr4(1), 80)
	s.sources()
}

// TestAnUndoWritesNoCopyWhereTheOldRulesHaveNoSetForIt.
func TestAnUndoWritesNoCopyWhereTheOldRulesHaveNoSetForIt(t *testing.T) {
	s := newSite(t, "nftables", strict())
	s.listen(80)
	other := parse(t, "other", "sequence = [\"7009/tcp\", \"8009/tcp\"]\nopen = [\"99/tcp\"]")
	bogus := parse(t, "bogus", "sequence = [\"7008/tcp\", \"8008/tcp\"]\nopen = [\"98/tcp\"]\n[opened]\nnftables = [\"no such words\"]")
	s.install(webProfile(t, "open = [\"80/tcp\"]"), other)
	s.grant("web", lab.ForgedAddr4(1), 0)
	s.try(other) // and it is confirmed: web is gone
	s.do(func() error {
		saved, err := s.srv.Save(t.Context())
		if err != nil {
			return err
		}
		if s.srv.Try(t.Context(), []*protocol.Profile{other, bogus}) == nil {
			t.Error("it came about")
		}
		return s.srv.PutBack(t.Context(), saved)
	})
	s.sources()
	undo := s.try(webProfile(t, "open = [\"80/tcp\"]"), other)
	s.run("nft", "add set inet knockd kept-banned4 { typeof ip saddr; flags dynamic,timeout; elements = { 198.51.100.9 timeout 1h }; }")
	undo()
	if all := s.sources(); len(all) > 0 {
		t.Errorf("there are %v", all)
	}
}
