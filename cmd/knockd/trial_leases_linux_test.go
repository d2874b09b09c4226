package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
	"knockkit/server"
)

// The profiles of a trial: how it changes what leases are worth.
var tried = map[string]struct{ before, after string }{
	"same":  {"open = [\"81/tcp\"]\n", "open = [\"81/tcp\"]\n"},
	"more":  {"open = [\"82/tcp\"]\n", "open = [\"82/tcp\", \"6082/tcp\"]\n"}, // leases end with the commit
	"less":  {"open = [\"83/tcp\", \"6083/tcp\"]\n", "open = [\"83/tcp\"]\n"}, // leases of the trial would open more
	"short": {"open = [\"84/tcp\"]\n", "open = [\"84/tcp\"]\nlease = \"1s\"\n"},
	"gone":  {"open = [\"85/tcp\"]\n", ""},
}

// tryWithLeases installs the profiles, gives each address "revoked" and "keeps" a lease of each for
// the profile's time, and to prefixes that begin likewise leases for a time of their own, and starts
// a trial of what follows.
func (s *served) tryWithLeases(patience string) *asked {
	s.t.Helper()
	i := 0
	for name, p := range tried {
		i++
		text := fmt.Sprintf("sequence = [\"%d/tcp\", \"%d/udp\"]\n", 7100+i, 7200+i)
		s.profile(name, text+p.before)
		s.profile("next/"+name, text+p.after)
	}
	s.must("remove", "--all")
	s.must("install", "mysql", "same", "more", "less", "short", "gone")
	for name := range tried {
		for _, who := range []string{"10.9.0.1", "10.9.0.2"} {
			s.must("grant", name, who)
		}
		for _, who := range []string{"10.9.1.0/24", "10.9.2.0/24"} {
			s.must("grant", name, who, "--for", "30m")
		}
		next := filepath.Join(s.config, "profiles", name+".toml")
		if tried[name].after == "" {
			s.must("profile", "remove", name)
		} else if err := os.Rename(filepath.Join(s.config, "profiles", "next", name+".toml"), next); err != nil {
			s.t.Fatal(err)
		}
	}
	if err := os.RemoveAll(filepath.Join(s.config, "profiles", "next")); err != nil {
		s.t.Fatal(err)
	}
	a := s.try(patience)
	a.question(soon)
	return a
}

// whileItWaits runs a command that must be done at once, beside a trial.
func (s *served) whileItWaits(words string, args ...string) {
	s.t.Helper()
	if out := s.knockd(args...); out.Code != 0 || strings.Contains(out.Stderr, "waiting") || !strings.Contains(out.Stderr, words) {
		s.t.Errorf("knockd %s: exit %d, %s, want %s", strings.Join(args, " "), out.Code, out.Stderr, words)
	}
}

// changeLeases revokes 10.9.0.1 and 10.9.1.0/24, and gives 10.9.0.3 and 10.9.0.4 leases.
func (s *served) changeLeases() {
	s.t.Helper()
	for name, p := range tried {
		if p.after == "" {
			out := s.knockd("revoke", name, "10.9.0.1")
			if out.Code != 2 || !strings.Contains(out.Stderr, "profile gone: not installed while a trial lasts (process ") {
				s.t.Errorf("exit %d, %s", out.Code, out.Stderr)
			}
			continue
		}
		s.whileItWaits("", "revoke", name, "10.9.0.1")
		s.whileItWaits("", "revoke", name, "10.9.1.0/24")
		s.whileItWaits("is open for 10.9.0.3 ", "grant", name, "10.9.0.3")
		s.whileItWaits("is open for 10.9.0.4 ", "grant", name, "10.9.0.4", "--for", "20m")
	}
	s.whileItWaits("is open for 2001:db8:9::3 ", "grant", "same", "2001:db8:9::3")
}

// holders lists who has a lease of a profile.
func (s *served) holders(profile string) (all []string) {
	s.t.Helper()
	for _, src := range s.form(profile).Sources {
		if src.State == "open" {
			all = append(all, src.Address)
		}
	}
	slices.Sort(all)
	return all
}

// hasLeasesOfUndo fails unless the leases are those that [served.changeLeases] and an undo leave.
func (s *served) hasLeasesOfUndo() {
	s.t.Helper()
	const kept, given = "10.9.0.2 10.9.2.0/24", "10.9.0.3 10.9.0.4"
	for name, want := range map[string]string{
		"same":  kept + " " + given + " 2001:db8:9::3",
		"more":  kept + " " + given,
		"less":  kept, // what was given would open a port that it was not given for
		"short": kept + " " + given,
		"gone":  kept + " 10.9.0.1 10.9.1.0/24", // nothing could be revoked
	} {
		expected := strings.Fields(want)
		slices.Sort(expected)
		got := s.holders(name)
		if name == "short" { // its lease of 1 s may be over, in the trial and after
			got = slices.DeleteFunc(got, func(a string) bool { return a == "10.9.0.3" })
			expected = slices.DeleteFunc(expected, func(a string) bool { return a == "10.9.0.3" })
		}
		if !slices.Equal(got, expected) {
			s.t.Errorf("%s: leases of %v, want %v", name, got, expected)
		}
	}
	for tool, why := range map[string]string{"status": "drift"} {
		if out := s.knockd(tool); strings.Contains(out.Stdout, why) {
			s.t.Errorf("%s\n%s", out.Stdout, out.Stderr)
		}
	}
}

func TestLeasesThatAreRevokedWhileATrialWaitsDoNotComeBackAndThoseGivenStay(t *testing.T) {
	eachBackendAtOnce(t, func(t *testing.T, s *served) {
		for _, c := range []struct {
			name, patience string
			end            func(a *asked) error
			code           int
		}{
			{"the answer is no", "30s", func(a *asked) error { _, err := io.WriteString(a.answer, "no\n"); return err }, 1},
			{"its time is over", "8s", func(*asked) error { return nil }, 1},
			{"its process is killed", "30s", func(a *asked) error { return a.cmd.Process.Kill() }, -1},
			{"its guard is killed", "30s", func(a *asked) error {
				guard, err := s.guard()
				if err != nil {
					return err
				}
				return unix.Kill(guard, unix.SIGKILL)
			}, 1},
		} {
			t.Run(c.name, func(t *testing.T) {
				s.t = t
				a := s.tryWithLeases(c.patience)
				s.changeLeases()
				if err := c.end(a); err != nil {
					t.Fatal(err)
				}
				_ = a.wait() // the code says it
				if code := a.cmd.ProcessState.ExitCode(); code != c.code {
					t.Errorf("exit %d, %s", code, a.said)
				}
				s.noOrphans()
				s.hasLeasesOfUndo()
			})
		}
		t.Run("the answer is yes", func(t *testing.T) {
			s.t = t
			a := s.tryWithLeases("30s")
			s.changeLeases()
			if _, err := io.WriteString(a.answer, "yes\n"); err != nil {
				t.Fatal(err)
			}
			if !a.ends() {
				t.Fatal(a.said)
			}
			for name, want := range map[string]string{"same": "10.9.0.2 10.9.0.3 10.9.0.4 10.9.2.0/24 2001:db8:9::3", "more": "10.9.0.3 10.9.0.4"} {
				if got := s.holders(name); !slices.Equal(got, strings.Fields(want)) {
					t.Errorf("%s: leases of %v, want %s", name, got, want)
				}
			}
		})
	})
}

// TestWhoIsRevokedWhileATrialWaitsIsShutOutAndWhoIsGivenALeaseGetsIn asks the kernel, before the
// undo and after.
func TestWhoIsRevokedWhileATrialWaitsIsShutOutAndWhoIsGivenALeaseGetsIn(t *testing.T) {
	eachBackendAtOnce(t, func(t *testing.T, s *served) {
		revoked, given := lab.ForgedAddr4(1), lab.ForgedAddr4(2)
		s.must("install")
		s.must("grant", "mysql", revoked.String())
		s.profile("mysql", strings.Replace(articleProfile, `"3306/tcp"`, `"3306/tcp", "3307/tcp"`, 1))
		a := s.try("30s")
		a.question(soon)
		s.whileItWaits("held no lease", "revoke", "mysql", revoked.String())
		s.whileItWaits("is open for", "grant", "mysql", given.String())
		check := func(when string) {
			t.Helper()
			if s.answers(revoked) || !s.answers(given) {
				t.Errorf("%s: revoked: %v, given: %v", when, s.answers(revoked), s.answers(given))
			}
		}
		check("while it waits")
		if _, err := io.WriteString(a.answer, "no\n"); err != nil {
			t.Fatal(err)
		}
		_ = a.wait()
		check("after the undo")
	})
}

// TestAGuardThatIsKilledWhileItPutsTheOldRulesBackForgetsNoRevocation kills it with its tools: what
// it was told is no longer in the queue.
func TestAGuardThatIsKilledWhileItPutsTheOldRulesBackForgetsNoRevocation(t *testing.T) {
	eachBackendAtOnce(t, func(t *testing.T, s *served) {
		started := s.slow(t, "0.3")
		a := s.tryWithLeases("30s")
		s.changeLeases()
		guard, err := s.guard()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(started); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(a.answer, "no\n"); err != nil {
			t.Fatal(err)
		}
		s.eventually("it puts the old rules back", soon, func() bool { return is(started) })
		for _, pid := range append([]int{guard}, childrenOf(t, guard)...) {
			_ = unix.Kill(pid, unix.SIGKILL) // a tool may have ended
		}
		_ = a.wait()
		if !strings.Contains(a.said.String(), "the guard of this trial was ended (signal: killed): the old rules are back") {
			t.Errorf("it says\n%s", a.said)
		}
		s.noOrphans()
		s.hasLeasesOfUndo()
	})
}

// childrenOf lists the processes that a process has started.
func childrenOf(t *testing.T, parent int) (all []int) {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", parent))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, _ := os.ReadFile(f) // a thread may have ended
		for _, field := range strings.Fields(string(text)) {
			pid, err := strconv.Atoi(field)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, pid)
		}
	}
	return all
}

// TestAnUnbanWhileATrialHasNoBanStays: the trial is one of other settings.
func TestAnUnbanWhileATrialHasNoBanStays(t *testing.T) {
	eachBackendAtOnce(t, func(t *testing.T, s *served) {
		settings := func(ban string) { s.settings(fmt.Sprintf("backend = %q\n%s", s.backend, ban)) }
		settings("ban = { after = 1, for = \"10m\" }\n")
		s.must("install")
		for _, src := range []int{1, 2} {
			s.knock(lab.ForgedAddr4(src), "icmp", "9/udp")
		}
		banned := func() (all []string) {
			for _, src := range s.form().Sources {
				if src.State == "banned" {
					all = append(all, src.Address)
				}
			}
			return all
		}
		labtest.Eventually(t, soon, func() error {
			if n := len(banned()); n != 2 {
				return fmt.Errorf("%d are banned", n)
			}
			return nil
		})
		settings("")
		a := s.try("30s")
		a.question(soon)
		s.whileItWaits("", "unban", lab.ForgedAddr4(1).String())
		if _, err := io.WriteString(a.answer, "no\n"); err != nil {
			t.Fatal(err)
		}
		_ = a.wait()
		if got := banned(); len(got) != 1 || got[0] != lab.ForgedAddr4(2).String() {
			t.Errorf("banned: %v; %s", got, a.said)
		}
	})
}

// TestATrialIsUndoneAlthoughSomebodyKeepsTheLock: a process that was stopped in the middle of its
// work keeps no rules in force that nobody has confirmed.
func TestATrialIsUndoneAlthoughSomebodyKeepsTheLock(t *testing.T) {
	s := newServedOn(t, "nftables")
	a := s.try("1h")
	a.question(soon)
	var lock *server.Lock
	if err := s.host.Do(func() (err error) {
		lock, err = server.TakeLock(t.Context())
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer lock.Release()
	if _, err := io.WriteString(a.answer, "no\n"); err != nil {
		t.Fatal(err)
	}
	if a.ends() {
		t.Error("kept")
	}
}
