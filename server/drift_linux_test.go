package server_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"knockkit/internal/kernel/backend"
	"knockkit/internal/lab/labtest"
)

// installed reads what the kernel says about the rules.
func (s *site) installed() backend.Installed {
	s.t.Helper()
	var in backend.Installed
	s.do(func() error {
		r, err := s.srv.Read(s.t.Context(), 0)
		if err == nil {
			in = r.Installed
		}
		return err
	})
	return in
}

// TestWhateverSomebodyDoesToTheRulesIsDriftUntilTheNextInstall works on the IPv4
// rules of mysql; those of IPv6 stay, so that both families are told apart.
func TestWhateverSomebodyDoesToTheRulesIsDriftUntilTheNextInstall(t *testing.T) {
	const noRecord = "ipv4: KNOCKD-ABOUT does not say any more what is installed: install it again"
	const noJump = "ipv4: INPUT does not jump to KNOCKD: nothing is gated"
	cases := []struct {
		name     string
		commands string // a line each, for iptables
		drift    []string
	}{
		{"all rules flushed", "-F", []string{noJump, noRecord}},
		{"the entry flushed", "-F KNOCKD",
			[]string{`ipv4: KNOCKD lacks the rule "-i lo -m addrtype --src-type LOCAL -m comment --comment \"loopback is no event\" -j RETURN"`}},
		{"the jump deleted", "-D INPUT -j KNOCKD", []string{noJump}},
		{"a rule before the jump", "-I INPUT -p tcp --dport 22 -j ACCEPT",
			[]string{`ipv4: INPUT jumps to KNOCKD at position 2, after "-p tcp -m tcp --dport 22 -j ACCEPT"`}},
		{"the jump twice", "-A INPUT -j KNOCKD", []string{"ipv4: INPUT jumps to KNOCKD 2 times"}},
		{"a rule deleted", "-D KNOCKD-NEXT-mysql.1 5",
			[]string{`ipv4: KNOCKD-NEXT-mysql.1 lacks the rule "-m comment --comment \"mysql 1/3: anything else starts over\" -g KNOCKD-OVER"`}},
		{"a rule added", "-A KNOCKD-TCP -j ACCEPT", []string{`ipv4: KNOCKD-TCP has a rule more: "-j ACCEPT"`}},
		{"what a lease holder gets", "-R KNOCKD-OPEN-mysql 2 -j DROP", []string{`ipv4: KNOCKD-OPEN-mysql rule 2 is "-j DROP"`}},
		{"another verdict", "-R KNOCKD-STRAY-TCP 1 -p tcp --dport 3306 -j ACCEPT",
			[]string{`ipv4: KNOCKD-STRAY-TCP rule 1 is "-p tcp -m tcp --dport 3306 -j ACCEPT"`}},
		{"a chain deleted", "-F KNOCKD-STRAY\n-F KNOCKD-STRAY-TCP\n-X KNOCKD-STRAY-TCP",
			[]string{`ipv4: KNOCKD-STRAY lacks the rule "-p tcp -g KNOCKD-STRAY-TCP"`, "ipv4: chain KNOCKD-STRAY-TCP is gone"}},
		{"a chain added", "-N KNOCKD-MINE", []string{"ipv4: chain KNOCKD-MINE is not one that we made"}},
		{"the record deleted", "-F KNOCKD-ABOUT\n-X KNOCKD-ABOUT", []string{noRecord}},
		{"a chain that only looks like ours", "-N KNOCKDX\n-A KNOCKDX -j DROP\n-A FORWARD -j KNOCKDX", nil},
	}
	eachFlavour(t, func(t *testing.T) {
		s := newSite(t, "iptables", strict())
		// Its own rule is printed otherwise than written, which is no drift.
		p := article(t, "[opened]\niptables = [\"-s 10.9.0.0/255.255.0.0 -j LOG\"]")
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				s.t = t
				s.install(p)
				for _, command := range strings.Split(c.commands, "\n") {
					s.run("iptables", strings.Fields(command)...)
				}
				if diff := cmp.Diff(c.drift, s.installed().Drift); diff != "" {
					t.Error(diff)
				}
				s.install(p)
				if in := s.installed(); len(in.Drift)+len(in.Foreign) > 0 {
					t.Errorf("after an install: %q, %q", in.Drift, in.Foreign)
				}
			})
		}
		s.t = t
		if rules := s.run("iptables", "-S", "KNOCKDX"); rules != "-N KNOCKDX\n-A KNOCKDX -j DROP\n" {
			t.Errorf("somebody else's chain is now\n%s", rules)
		}
	})
}

func TestStatusCanBeHadWhenAllRulesWereFlushed(t *testing.T) {
	eachFlavour(t, func(t *testing.T) {
		s := newSite(t, "iptables", strict())
		s.install(article(t, ""))
		s.run("iptables", "-F")
		s.run("ip6tables", "-F")
		if st := s.status(); len(st.Sources) > 0 || len(st.Profiles) > 0 || len(st.Drift) != 4 {
			t.Errorf("%d sources, %d profiles, drift %q; want the two lines of each family", len(st.Sources), len(st.Profiles), st.Drift)
		}
	})
}

// TestARuleThatIsNotOursIntoOurChainsIsReportedAndLeftAlone: it is another way to
// progress through the knocks, as the article warns.
func TestARuleThatIsNotOursIntoOurChainsIsReportedAndLeftAlone(t *testing.T) {
	eachFlavour(t, func(t *testing.T) {
		for _, c := range []struct{ name, tool, rule, family string }{
			{"from INPUT", "iptables", "INPUT -p tcp -m tcp --dport 7 -j KNOCKD-ENTER-mysql.2", "ipv4"},
			{"from FORWARD", "iptables", "FORWARD -j KNOCKD-ENTER-mysql.2", "ipv4"},
			{"from a chain of others, of IPv6", "ip6tables", "KNOCKDX -g KNOCKD-ENTER-mysql.2", "ipv6"},
		} {
			t.Run(c.name, func(t *testing.T) {
				s := newSite(t, "iptables", strict())
				s.run(c.tool, "-N", "KNOCKDX")
				s.install(article(t, ""))
				s.run(c.tool, append([]string{"-A"}, strings.Fields(c.rule)...)...)
				is := s.installed()
				if diff := cmp.Diff([]string{c.family + ": -A " + c.rule}, is.Foreign); diff != "" || len(is.Drift) > 0 {
					t.Errorf("drift %q, foreign %s", is.Drift, diff)
				}
				s.install(article(t, "lease = \"2h\"")) // the chain stays: it can be filled anew
				s.do(func() error { _, err := s.srv.Grant(t.Context(), "mysql", single(s.dest(s.host.Addr4)), 0); return err })
				before := s.saved()
				err := s.host.Do(func() error { _, err := s.srv.Remove(t.Context(), nil); return err })
				want := c.family + ": a rule that is not ours needs the chain KNOCKD-ENTER-mysql.2, so that it cannot go: delete the rule first: \"-A " + c.rule + "\""
				if err == nil || err.Error() != want {
					t.Errorf("removal says %v", err)
				}
				if after := s.saved(); after != before || !s.holds("mysql", s.host.Addr4) {
					t.Errorf("the failed removal changed the rules, or took a lease:\n%s", after)
				}
				s.run(c.tool, append([]string{"-D"}, strings.Fields(c.rule)...)...)
				s.do(func() error { _, err := s.srv.Remove(t.Context(), nil); return err })
			})
		}
	})
}

// TestAFamilyThatLacksAProfileIsDrift: an install that is killed between the two
// families leaves the second one as it was.
func TestAFamilyThatLacksAProfileIsDrift(t *testing.T) {
	eachFlavour(t, func(t *testing.T) {
		for _, c := range []struct {
			name string
			was  []string // sequences of the profile web before, at most one
			want string
		}{
			{"none of it", nil, "ipv6: web is not installed there: what it opens is open to all"},
			{"an older one", []string{`["1009/tcp", "1002/tcp"]`}, "ipv6: web is another version there"},
		} {
			t.Run(c.name, func(t *testing.T) {
				s := newSite(t, "iptables", strict())
				s.install(article(t, ""))
				for _, sequence := range c.was {
					s.install(parse(t, "web", "sequence = "+sequence+"\nopen = [\"80/tcp\"]"))
				}
				before := s.run("ip6tables-save")
				web := parse(t, "web", "sequence = [\"1001/tcp\", \"1002/tcp\"]\nopen = [\"80/tcp\"]")
				s.install(web)
				labtest.MustRun(t, s.host, before, "ip6tables-restore")
				if diff := cmp.Diff([]string{c.want}, s.installed().Drift); diff != "" {
					t.Error(diff)
				}
				s.install(web)
				if drift := s.installed().Drift; len(drift) > 0 {
					t.Errorf("after an install: %q", drift)
				}
			})
		}
		s := newSite(t, "iptables", strict())
		s.install(article(t, ""))
		labtest.MustRun(t, s.host, "*filter\nCOMMIT\n", "ip6tables-restore")
		if diff := cmp.Diff([]string{"ipv6: mysql is not installed there: what it opens is open to all"}, s.installed().Drift); diff != "" {
			t.Error(diff)
		}
	})
}
