package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
	"knockkit/server"
)

// asked is an `install mysql --try` on a host without rules. What it leaves is seen by a
// stranger at 3306: shut by the new rules, open by the old ones.
type asked struct {
	s      *served
	cmd    *exec.Cmd
	answer io.WriteCloser
	said   *safeBuffer
	asks   chan time.Time // when it asks whether the rules may stay
	once   sync.Once
	wait   func() error
}

const question = "unless you write y or yes"

// Write takes what the program says, and the time of the question.
func (a *asked) Write(p []byte) (int, error) {
	n, err := a.said.Write(p)
	if strings.Contains(a.said.String(), question) {
		a.once.Do(func() { a.asks <- time.Now() })
	}
	return n, err
}

// try starts a trial.
func (s *served) try(patience string, more ...string) *asked {
	s.t.Helper()
	a := &asked{s: s, said: &safeBuffer{}, asks: make(chan time.Time, 1)}
	a.cmd = s.command(append([]string{"install", "--try", patience}, more...)...)
	a.cmd.Env = append(a.cmd.Env, "SSH_CONNECTION=")
	a.cmd.Stderr = a
	var err error
	if a.answer, err = a.cmd.StdinPipe(); err != nil {
		s.t.Fatal(err)
	}
	a.wait = labtest.Start(s.t, s.host, a.cmd)
	return a
}

// question waits for the question.
func (a *asked) question(within time.Duration) time.Time {
	a.s.t.Helper()
	select {
	case at := <-a.asks:
		return at
	case <-time.After(within):
		a.s.t.Fatalf("it does not ask: %s", a.said)
	}
	panic("not reached")
}

// isOpen reports what the kernel has: a stranger gets to 3306 with the old rules only.
func (s *served) isOpen() bool {
	s.t.Helper()
	return s.answers(lab.ForgedAddr4(200)) && s.answers(lab.ForgedAddr6(200))
}

func (s *served) isShut() bool {
	s.t.Helper()
	return !s.answers(lab.ForgedAddr4(200)) && !s.answers(lab.ForgedAddr6(200))
}

// ends waits for the end of the program, and fails unless its words, its exit code and the
// kernel agree. It reports whether the rules were kept.
func (a *asked) ends() (kept bool) {
	t := a.s.t
	t.Helper()
	_ = a.wait() // the code says it
	code, said := a.cmd.ProcessState.ExitCode(), a.said.String()
	kept = strings.HasSuffix(said, "knockd: kept\n")
	back := strings.HasSuffix(said, ": the old rules are back\n")
	switch {
	case kept && code == 0:
		if !a.s.isShut() {
			t.Errorf("it says kept, and the old rules are there:\n%s", said)
		}
	case back && code == 1:
		if !a.s.isOpen() {
			t.Errorf("it says that the old rules are back, and the new ones are there:\n%s", said)
		}
	default:
		t.Errorf("exit %d, and it says\n%s", code, said)
	}
	a.s.noOrphans()
	return kept
}

// TestAroundTheEndOfTheTimeWhatATrialSaysIsWhatTheKernelHas answers at fifteen moments.
func TestAroundTheEndOfTheTimeWhatATrialSaysIsWhatTheKernelHas(t *testing.T) {
	const patience = time.Second
	moments := []int{-200, -100, -50, -20, -10, -5, -2, 0, 2, 5, 10, 20, 50, 100, 200} // milliseconds from the end
	eachBackendAtOnce(t, func(t *testing.T, s *served) {
		var kept []int
		for _, moment := range moments {
			a := s.try(patience.String())
			at := a.question(soon)
			if !s.isShut() {
				t.Errorf("%d: it asks before there is a gate", moment)
			}
			time.Sleep(time.Until(at.Add(patience + time.Duration(moment)*time.Millisecond)))
			_, _ = io.WriteString(a.answer, "yes\n") // it may be over, and nobody reads
			if a.ends() {
				kept = append(kept, moment)
			}
			s.must("remove", "--all")
		}
		t.Logf("kept at %v ms from the end", kept)
		if n := len(kept); n == 0 || n == len(moments) {
			t.Errorf("%d of %d are kept: the moments are not around the end", n, len(moments))
		}
	})
}

// slow puts tools first on the PATH of the site, until the test ends, that start to commit
// after a time. It returns a file that is there once one was started.
func (s *served) slow(t *testing.T, by string) (started string) {
	t.Helper()
	dir := t.TempDir()
	started = filepath.Join(dir, "started")
	for name, when := range map[string]string{"nft": `[ "$1" = -f ]`, "iptables-restore": "true", "ip6tables-restore": "true"} {
		tool := strings.TrimSpace(s.tool("", "sh", "-c", "command -v "+name))
		script := fmt.Sprintf("#!/bin/sh\nif %s; then : > %s; sleep %s; fi\nexec %s \"$@\"\n", when, started, by, tool)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	path := strings.TrimSpace(s.tool("", "printenv", "PATH"))
	s.sets(t, "PATH="+dir+":"+path)
	return started
}

// sets adds to the environment of what runs on the site, until the test ends.
func (s *served) sets(t *testing.T, variable string) {
	t.Helper()
	before := s.env
	s.env = append(slices.Clone(before), variable)
	t.Cleanup(func() { s.env = before })
}

func is(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// TestATrialCountsFromWhenTheKernelHasTheRules has commits that take longer than the
// patience: since the tool starts late, since another one has the lock of iptables-legacy,
// and since there is much to commit.
func TestATrialCountsFromWhenTheKernelHasTheRules(t *testing.T) {
	const patience = time.Second
	eachBackendAtOnce(t, func(t *testing.T, s *served) {
		for _, c := range []struct {
			name  string
			delay func(t *testing.T) (least time.Duration)
		}{
			{"a slow tool", func(t *testing.T) time.Duration { s.slow(t, "1.2"); return 1200 * time.Millisecond }},
			{"the lock of iptables", func(t *testing.T) time.Duration { s.holdXtables(t, 3*time.Second); return 3 * time.Second }},
			{"500 profiles", func(*testing.T) time.Duration {
				for i := range 500 {
					s.profile(fmt.Sprintf("p%d", i), fmt.Sprintf("sequence = [\"%d/tcp\", \"%d/udp\", \"%d/tcp\"]\nopen = [\"%d/tcp\"]\n", 21000+i, 22000+i, 23000+i, 24000+i))
				}
				return 0
			}},
		} {
			if c.name == "the lock of iptables" && !strings.HasSuffix(t.Name(), "legacy") {
				continue // the others have none
			}
			t.Run(c.name, func(t *testing.T) {
				s.t = t
				least := c.delay(t)
				for _, answer := range []string{"", "yes\n"} {
					if answer != "" && c.name != "a slow tool" {
						continue // one is enough
					}
					began := time.Now()
					a := s.try(patience.String())
					at := a.question(6 * soon)
					if took := at.Sub(began); took < least {
						t.Errorf("it asks after %s", took)
					} else {
						t.Logf("it asks after %s", took)
					}
					if !s.isShut() {
						t.Error("it asks before there is a gate")
					}
					_, _ = io.WriteString(a.answer, answer)
					kept := a.ends()
					if counted := time.Since(at); kept != (answer != "") || !kept && counted < patience-50*time.Millisecond {
						t.Errorf("kept: %v, after %s", kept, counted)
					}
					s.must("remove", "--all")
				}
			})
		}
	})
}

// holdXtables is another tool that has the lock of iptables-legacy for a time.
func (s *served) holdXtables(t *testing.T, d time.Duration) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "lock")) // one of this test's own: the real one is the whole machine's
	if err != nil {
		t.Fatal(err)
	}
	s.sets(t, "XTABLES_LOCKFILE="+f.Name())
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	free := time.AfterFunc(d, func() { f.Close() })
	t.Cleanup(func() {
		free.Stop()
		f.Close()
	})
}

// TestATrialWhoseProcessIsKilledLeavesTheOldRules kills it before, during and after its
// commit: when it is gone, a tool that it has started goes on, and must end before the
// guard puts the old rules back.
func TestATrialWhoseProcessIsKilledLeavesTheOldRules(t *testing.T) {
	eachBackendAtOnce(t, func(t *testing.T, s *served) {
		kill := func(t *testing.T, a *asked) {
			t.Helper()
			if err := a.cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = a.wait() // killed
			s.noOrphans()
			if !s.isOpen() {
				t.Errorf("new rules that nobody has confirmed are there: %s", a.said)
			}
			s.must("remove", "--all") // the lock is free
		}
		t.Run("before the commit", func(t *testing.T) {
			s.t = t
			s.slow(t, "1")
			a := s.try("30s")
			labtest.Eventually(t, soon, func() error { _, err := s.guard(); return err })
			kill(t, a)
		})
		t.Run("while a tool is at work", func(t *testing.T) {
			s.t = t
			started := s.slow(t, "1")
			a := s.try("30s")
			s.eventually("it commits", soon, func() bool { return is(started) })
			kill(t, a)
		})
		t.Run("while it waits for the lock of iptables", func(t *testing.T) {
			if !strings.Contains(t.Name(), "legacy") {
				return // the others have none
			}
			s.t = t
			s.holdXtables(t, 2*time.Second)
			started := s.slow(t, "0")
			a := s.try("30s")
			s.eventually("it commits", soon, func() bool { return is(started) })
			kill(t, a)
		})
		t.Run("after the commit", func(t *testing.T) {
			s.t = t
			a := s.try("30s")
			a.question(soon)
			kill(t, a)
		})
		t.Run("at moments over all of its work", func(t *testing.T) {
			s.t = t
			const rounds = 12
			for i := range 20 {
				s.profile(fmt.Sprintf("p%d", i), fmt.Sprintf("sequence = [\"%d/tcp\", \"%d/udp\", \"%d/tcp\"]\nopen = [\"%d/tcp\"]\n", 21000+i, 22000+i, 23000+i, 24000+i))
			}
			began := time.Now()
			a := s.try("30s")
			took := a.question(soon).Sub(began)
			kill(t, a)
			for round := range rounds {
				a := s.try("30s")
				time.Sleep(took * time.Duration(round) / rounds)
				kill(t, a)
			}
		})
	})
}

// TestATrialWhoseGuardIsKilledIsUndoneByItsProcess does so before, during and after the
// commit.
func TestATrialWhoseGuardIsKilledIsUndoneByItsProcess(t *testing.T) {
	eachBackendAtOnce(t, func(t *testing.T, s *served) {
		for _, c := range []struct {
			name   string
			during bool
			words  string
		}{
			{"while a tool is at work", true, "the guard of this trial was ended (signal: killed): the old rules are back\n"},
			{"while it waits for an answer", false, "the guard of this trial was ended (signal: killed): the old rules are back\n"},
		} {
			t.Run(c.name, func(t *testing.T) {
				s.t = t
				started := s.slow(t, "1")
				a := s.try("30s")
				if s.eventually("it commits", soon, func() bool { return is(started) }); !c.during {
					a.question(soon)
				}
				guard, err := s.guard()
				if err != nil {
					t.Fatal(err)
				}
				if err := unix.Kill(guard, unix.SIGKILL); err != nil {
					t.Fatal(err)
				}
				_ = a.wait()
				if code := a.cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(a.said.String(), c.words) {
					t.Errorf("exit %d, and it says\n%s", code, a.said)
				}
				if s.noOrphans(); !s.isOpen() {
					t.Errorf("new rules that nobody has confirmed are there: %s", a.said)
				}
				s.must("remove", "--all") // the lock is free
			})
		}
	})
}

// TestATrialThatCannotBeUndoneSaysSo has the tool break while the trial waits.
func TestATrialThatCannotBeUndoneSaysSo(t *testing.T) {
	eachBackendAtOnce(t, func(t *testing.T, s *served) {
		tools := filepath.Dir(s.slow(t, "0"))
		a := s.try("1s")
		a.question(soon)
		for _, name := range []string{"nft", "iptables-restore", "ip6tables-restore"} {
			s.write(filepath.Join(tools, name), "#!/bin/sh\necho it is broken >&2\nexit 1\n")
		}
		_ = a.wait()
		if code, said := a.cmd.ProcessState.ExitCode(), a.said.String(); code != 1 || strings.Contains(said, "are back") ||
			!strings.Contains(said, "putting the old rules back: ") || !strings.Contains(said, "it is broken") {
			t.Errorf("exit %d, and it says\n%s", code, said)
		}
		if s.noOrphans(); !s.isShut() {
			t.Error("it was undone: the test proves nothing")
		}
	})
}

// guard finds the guard of a trial among the processes of the host.
func (s *served) guard() (pid int, err error) {
	var space string
	if err := s.host.Do(func() (err error) {
		space, err = os.Readlink("/proc/thread-self/ns/net")
		return err
	}); err != nil {
		return 0, err
	}
	links, err := filepath.Glob("/proc/[0-9]*/ns/net")
	if err != nil {
		return 0, err
	}
	for _, link := range links {
		folder := filepath.Dir(filepath.Dir(link))
		text, _ := os.ReadFile(filepath.Join(folder, "cmdline")) // it may have ended
		if of, err := os.Readlink(link); err == nil && of == space && strings.Contains(string(text), server.GuardCommand) {
			return strconv.Atoi(filepath.Base(folder))
		}
	}
	return 0, errors.New("there is no guard")
}

// TestWhoWaitsForATrialIsToldForWhomAndForHowLong has a removal wait, and be told again when the
// trial goes on without its process.
func TestWhoWaitsForATrialIsToldForWhomAndForHowLong(t *testing.T) {
	s := newServedOn(t, "nftables")
	a := s.try("4m")
	a.question(soon)
	waits := s.start("remove", "--all")
	said := func(pid int) string {
		return fmt.Sprintf(`knockd: waiting for knockd \(process %d, install --try, 3m [1-5]\ds left\)\n`, pid)
	}
	says := func(want string) {
		t.Helper()
		s.eventually("it says "+want, soon, func() bool { return regexp.MustCompile("^" + want + "$").MatchString(waits.log.String()) })
	}
	says(said(a.cmd.Process.Pid))
	guard, err := s.guard()
	if err != nil {
		t.Fatal(err)
	}
	// The guard that is left keeps others from it until it is done: it is stopped before.
	if err := errors.Join(unix.Kill(guard, unix.SIGSTOP), a.cmd.Process.Kill()); err != nil {
		t.Fatal(err)
	}
	_ = a.wait()
	says(said(a.cmd.Process.Pid) + said(guard))
	if err := unix.Kill(guard, unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := waits.wait(); err != nil || !s.isOpen() {
		t.Errorf("%v: %s", err, waits.log)
	}
	says(said(a.cmd.Process.Pid) + said(guard) + `knockd: nothing was installed\n`)
}
