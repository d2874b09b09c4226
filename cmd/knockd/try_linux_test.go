package main

import (
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"knockkit/internal/lab/labtest"
)

func TestATrialThatIsConfirmedKeepsTheNewRules(t *testing.T) {
	eachFlavour(t, func(t *testing.T, s *site) {
		tr := newTrial(t, s, "30s", false)
		if _, err := io.WriteString(tr.answer, "yes\n"); err != nil {
			t.Fatal(err)
		}
		tr.exits(0)
		if want := "knockd: installed: web (iptables)\nknockd: the old rules come back in 30s unless you write y or yes\nknockd: kept\n"; withoutTables(tr.said.String()) != want {
			t.Errorf("it says\n%swant\n%s", tr.said, want)
		}
		s.noOrphans()
		tr.leasesAreThere()
		if out := s.must("status", "--check"); strings.Count(out.Stdout, " installed ") != 2 {
			t.Errorf("status:\n%s", out.Stdout)
		}
	})
}

func TestATrialThatIsNotConfirmedIsUndone(t *testing.T) {
	eachFlavour(t, func(t *testing.T, s *site) {
		for _, c := range []struct {
			name, patience string
			terminal       bool
			do             func(tr *trial) error
			code           int // of the program; -1: it is killed
			slow           bool
		}{
			{"no answer", "1s", false, func(*trial) error { return nil }, 1, true},
			{"another answer", "30s", false, func(tr *trial) error { _, err := io.WriteString(tr.answer, "no\n"); return err }, 1, false},
			{"the input ends", "30s", false, func(tr *trial) error { return tr.answer.Close() }, 1, false},
			{"interrupted", "30s", false, func(tr *trial) error { return tr.cmd.Process.Signal(os.Interrupt) }, 130, false},
			{"killed", "30s", false, func(tr *trial) error { return tr.cmd.Process.Kill() }, -1, false},
			{"hung up", "30s", false, func(tr *trial) error { return tr.cmd.Process.Signal(syscall.SIGHUP) }, -1, false},
			{"the terminal is gone", "30s", true, func(tr *trial) error { return tr.answer.Close() }, -1, false},
			{"interrupted on the terminal", "30s", true, (*trial).interrupt, 130, false},
		} {
			t.Run(c.name, func(t *testing.T) {
				tr := newTrial(t, s, c.patience, c.terminal)
				if err := c.do(tr); err != nil {
					t.Fatal(err)
				}
				tr.exits(c.code)
				tr.isUndone()
				if took := time.Since(tr.started); !c.slow && took > soon || c.slow && took < time.Second {
					t.Errorf("the old rules came back after %s", took)
				}
				if c.code > 0 && !strings.Contains(tr.said.String(), "not confirmed: the old rules are back") {
					t.Errorf("it says\n%s", tr.said)
				}
			})
		}
	})
}

// TestATrialThatTakesProfilesAwayCanBringTheirLeasesBack: the kernel forgets a
// recency table with the last rule that names it, so a trial keeps such rules.
func TestATrialThatTakesProfilesAwayCanBringTheirLeasesBack(t *testing.T) {
	eachFlavour(t, func(t *testing.T, s *site) {
		for _, c := range []struct {
			name, answer string
			code         int
		}{{"undone", "no\n", 1}, {"kept", "yes\n", 0}} {
			t.Run(c.name, func(t *testing.T) {
				s.t = t
				s.profile("mysql", mysql)
				s.profile("web", web)
				s.must("install")
				s.must("grant", "web", "10.9.0.1")
				s.note("mysql.1.KNOCKD4", "10.9.0.2")
				before := s.both()
				s.profile("mysql", strings.ReplaceAll(mysql, "7421", "7423"))
				s.must("profile", "remove", "web")
				out := labtest.Run(t, s.host, c.answer, program(t), "--config", s.config, "install", "--try", "30s")
				if out.Code != c.code {
					t.Fatalf("exit %d: %s", out.Code, out.Stderr)
				}
				s.noOrphans()
				if out := s.must("status"); strings.Contains(out.Stdout, "drift: ") {
					t.Errorf("status:\n%s", out.Stdout)
				}
				if c.code == 0 {
					s.must("status", "--check")
					s.must("install")
					if rules := s.rules("iptables"); strings.Contains(rules, "kept for a trial") || strings.Contains(rules, "web") {
						t.Errorf("the next install left something of the trial:\n%s", rules)
					}
					return
				}
				after := s.both()
				for i := range before {
					if byChain(before[i]) != byChain(after[i]) {
						t.Errorf("before:\n%s\nafter:\n%s", before[i], after[i])
					}
				}
				for table, addr := range map[string]string{"web.open.KNOCKD4": "10.9.0.1", "mysql.1.KNOCKD4": "10.9.0.2"} {
					if got := s.table(table); len(got) != 1 || got[0] != netip.MustParseAddr(addr) {
						t.Errorf("%s holds %v, not %s", table, got, addr)
					}
				}
			})
		}
	})
}

func TestATrialThatFailsLeavesNoGuard(t *testing.T) {
	eachFlavour(t, func(t *testing.T, s *site) {
		labtest.MustRun(t, s.host, "", "iptables", "-P", "INPUT", "ACCEPT") // makes the empty tables that a failure may leave behind
		labtest.MustRun(t, s.host, "", "ip6tables", "-P", "INPUT", "ACCEPT")
		s.profile("mysql", mysql+"[opened]\niptables = [\"-m nosuchmatch -j LOG\"]\n")
		before := s.both()
		if out := s.try("yes\n", program(t), "--config", s.config, "install", "mysql", "--try", "30s"); out.Code != 2 || !strings.Contains(out.Stderr, "nothing was changed") {
			t.Errorf("exit %d, %s", out.Code, out.Stderr)
		}
		s.noOrphans()
		if s.both() != before {
			t.Error("the rules changed")
		}
	})
}

// TestATrialThatNobodyCanAnswerChangesNothing: it would be undone at once, and look like one that
// was tried.
func TestATrialThatNobodyCanAnswerChangesNothing(t *testing.T) {
	eachFlavour(t, func(t *testing.T, s *site) {
		s.profile("mysql", mysql)
		s.must("install")
		s.profile("web", web)
		s.write(filepath.Join(s.config, "empty"), "")
		s.write(filepath.Join(s.config, "yes"), "yes")
		before := s.both()
		install := "'" + program(t) + "' --config '" + s.config + "' install web --try 30s"
		for _, input := range []string{"</dev/null", "<'" + s.config + "/empty'", "<&-"} {
			out := s.try("yes\n", "sh", "-c", install+" "+input)
			want := "knockd: error: a trial needs an answer, and standard input is at its end: nothing was changed\n" +
				"knockd: hint: answer it on a terminal, or from a script: (sleep 5; CHECK && echo yes) | knockd --config " + s.config + " install web --try 30s\n"
			if out.Code != 2 || out.Stderr != want || s.both() != before {
				t.Errorf("%s: exit %d, it says\n%swant\n%s", input, out.Code, out.Stderr, want)
			}
		}
		s.noOrphans()
		for _, answered := range []string{install + " <'" + s.config + "/yes'", "(sleep 0.5; echo yes) | " + install} {
			out := s.try("", "sh", "-c", answered)
			if out.Code != 0 || !strings.HasSuffix(out.Stderr, "knockd: kept\n") || s.both() == before {
				t.Errorf("%s: exit %d, %s", answered, out.Code, out.Stderr)
			}
			s.must("remove", "web")
		}
	})
}
