package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"knockkit/internal/kernel/backend"
	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
	"knockkit/internal/metrics"
	"knockkit/server/events"
)

// repair is how soon the rules must be right again.
const repair = 5 * time.Second

// TestAFlushByAnotherToolShutsNobodyOut is each fault that takes rules away or puts
// them in another order. Whoever holds a lease keeps it, and strangers stay out.
func TestAFlushByAnotherToolShutsNobodyOut(t *testing.T) {
	faults := []struct {
		name     string
		backend  string // "": each
		commands []string
	}{
		{"iptables -F", "iptables", []string{"iptables -F", "ip6tables -F"}},
		{"iptables -F of one family", "iptables", []string{"iptables -F"}},
		{"the jump goes behind another rule", "iptables",
			[]string{"iptables -I INPUT -p tcp --dport 22 -j ACCEPT", "ip6tables -D INPUT -j KNOCKD", "ip6tables -A INPUT -p tcp --dport 22 -j ACCEPT", "ip6tables -A INPUT -j KNOCKD"}},
		{"nft flush ruleset", "nftables", []string{"nft flush ruleset"}},
		{"our table deleted", "nftables", []string{"nft delete table inet knockd"}},
		{"one chain flushed", "nftables", []string{"nft flush chain inet knockd input"}},
	}
	eachBackendAtOnce(t, func(t *testing.T, s *served) {
		service := s.run()
		four, six := lab.ForgedAddr4(1), lab.ForgedAddr6(1)
		s.knock(four, "icmp", "7/tcp", "8000/tcp")
		s.knock(six, "icmp", "7/tcp", "8000/tcp")
		service.logs("msg=grant profile=mysql address=" + six.String())
		repairs := 0
		for _, fault := range faults {
			if fault.backend != s.backend {
				continue
			}
			repairs++
			s.sh(fault.commands...)
			s.eventually(fault.name+": the rules are right again", repair, func() bool {
				return s.knockd("status", "--check").Code == 0 && strings.Contains(s.knockd("status").Stdout, "mysql    installed ")
			})
			if !s.answers(four) || !s.answers(six) {
				t.Errorf("%s: a lease was lost\n%s", fault.name, service.log)
			}
			if s.answers(lab.ForgedAddr4(2)) || s.answers(lab.ForgedAddr6(2)) {
				t.Errorf("%s: the gate is open to strangers", fault.name)
			}
			s.eventually("it has said what was lost", soon, func() bool {
				return strings.Count(service.log.String(), "the rules had been changed") >= repairs
			})
		}
	})
}

// TestAFlushAndAnInstallAtOnceShutNobodyOut is what a script does that loads the
// firewall anew and then tells knockd, one way or the other: the service hears of that
// before it has heard of the flush.
func TestAFlushAndAnInstallAtOnceShutNobodyOut(t *testing.T) {
	eachBackend(t, func(t *testing.T, s *served) {
		service := s.run()
		src := lab.ForgedAddr4(1)
		s.knock(src, "icmp", "7/tcp", "8000/tcp")
		service.logs("msg=grant")
		s.flush()
		s.must("install")
		if !s.answers(src) {
			t.Error("install: the lease is lost")
		}
		s.profile("mysql", strings.Replace(articleProfile, "8000", "8001", 1))
		s.flush()
		s.signal(service, unix.SIGHUP)
		service.logs("msg=reloaded")
		if !s.answers(src) {
			t.Error("SIGHUP: the lease is lost")
		}
	})
}

func TestARevokedLeaseStaysRevokedWhenTheRulesAreFlushed(t *testing.T) {
	eachBackend(t, func(t *testing.T, s *served) {
		service := s.run()
		src := lab.ForgedAddr4(1)
		s.knock(src, "icmp", "7/tcp", "8000/tcp")
		service.logs("msg=grant")
		s.must("revoke", "mysql", src.String())
		s.flush()
		service.logs("the rules had been changed")
		if s.answers(src) {
			t.Error("the lease came back")
		}
	})
}

// TestALeaseGivenByHandSurvivesAFlush waits for nothing in between: when `grant` is
// done, the service knows.
func TestALeaseGivenByHandSurvivesAFlush(t *testing.T) {
	eachBackend(t, func(t *testing.T, s *served) {
		service := s.run()
		src := lab.ForgedAddr4(1)
		s.must("grant", "mysql", src.String(), "--for", "20m")
		s.flush()
		service.logs("the rules had been changed")
		if !s.answers(src) {
			t.Error("the lease is lost")
		}
	})
}

// TestWhatIsRemovedByHandBesideAServiceComesBackWithAWarning: but its leases are over. The service
// knows that no other tool was at work, and who was.
func TestWhatIsRemovedByHandBesideAServiceComesBackWithAWarning(t *testing.T) {
	eachBackend(t, func(t *testing.T, s *served) {
		s.env = []string{"SUDO_USER=alice"}
		s.settings(fmt.Sprintf("backend = %q\nmetrics = \"127.0.0.1:9478\"\n", s.backend))
		s.profile("web", web)
		service := s.run()
		service.logs("http://127.0.0.1:9478/metrics")
		const undone = "what was done by hand is undone: the rules are as the files say"
		for i, c := range []struct{ remove, again, first string }{
			{"mysql", "mysql", "mysql"},
			{"--all", "mysql, web", "mysql"},
		} {
			s.must("grant", "mysql", "10.9.0.1")
			if !s.answers(lab.ForgedAddr4(1)) {
				t.Fatal("a lease opens nothing")
			}
			s.says(0, fmt.Sprintf("knockd: removed: %s (%s)\nknockd: warning: knockd run (process %d) looks after this host; it installs %[1]s again, as the files say\n"+
				"knockd: hint: to keep a profile out, set enabled = false in its file: %[4]s/profiles/mysql.toml\n", c.again, s.backend, service.cmd.Process.Pid, s.config), "remove", c.remove)
			s.eventually("it is installed again", soon, func() bool { return strings.Count(service.log.String(), undone) == i+1 })
			service.logs("found=\"mysql: removed")
			if s.answers(lab.ForgedAddr4(1)) {
				t.Errorf("remove %s: the gate is open, or the lease is back", c.remove)
			}
		}
		service.logs("by=alice do=")
		if log := service.log.String(); strings.Contains(log, "the rules had been changed") {
			t.Errorf("it takes us for another tool:\n%s", log)
		}
		if n := sum(s.page()[metrics.Repairs]); n != 0 {
			t.Errorf("%v repairs are counted", n)
		}
		s.profile("web", "enabled = false\n"+web)
		s.says(0, fmt.Sprintf("knockd: removed: web (%s)\n", s.backend), "remove", "web")
		service.logs("msg=reloaded")
		s.flush() // this is another tool
		service.logs("the rules had been changed")
		service.stop()
		s.says(0, fmt.Sprintf("knockd: removed: mysql (%s)\n", s.backend), "remove", "mysql")
	})
}

// flush takes all rules away, as another tool would.
func (s *served) flush() {
	s.t.Helper()
	if s.backend == "nftables" {
		s.sh("nft flush ruleset")
		return
	}
	s.sh("iptables -F", "ip6tables -F")
}

func TestKnockingGoesOnWhenTheServiceIsKilledInTheMiddleOfAKnock(t *testing.T) {
	eachBackend(t, func(t *testing.T, s *served) {
		service := s.run()
		src := lab.ForgedAddr4(1)
		s.knock(src, "icmp", "7/tcp")
		if err := service.cmd.Process.Signal(unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		_ = service.wait() // killed, as it should be
		s.knock(src, "8000/tcp")
		if !s.answers(src) {
			t.Error("the port did not open")
		}
		again := s.run() // and the next one finds everything as it was
		if !s.answers(src) || s.answers(lab.ForgedAddr4(2)) {
			t.Errorf("after the next start a lease or the gate was lost\n%s", again.log)
		}
	})
}

func TestTheRulesStayWhenTheServiceEndsUnlessItIsToldOtherwise(t *testing.T) {
	eachBackend(t, func(t *testing.T, s *served) {
		for _, c := range []struct {
			flags []string
			sig   unix.Signal
			says  string
			open  bool
		}{
			{nil, unix.SIGTERM, `msg=stopping why=SIGTERM rules="they stay, and knocks still open"`, false},
			{nil, unix.SIGINT, `msg=stopping why=SIGINT rules="they stay, and knocks still open"`, false},
			{[]string{"--remove-on-exit"}, unix.SIGTERM, `msg=stopping why=SIGTERM rules="they are taken away"`, true},
		} {
			service := s.run(c.flags...)
			s.signal(service, c.sig)
			_ = service.wait() // the code says it
			if code := service.cmd.ProcessState.ExitCode(); code != 0 || s.answers(lab.ForgedAddr4(1)) != c.open {
				t.Errorf("%s: exit code %d, or the gate is not as it should be", c.says, code)
			}
			if log := service.log.String(); strings.Count(log, c.says+"\n") != 1 || strings.Contains(log, "msg=removed profiles=[mysql]") != c.open {
				t.Errorf("it does not log %q:\n%s", c.says, log)
			}
		}
	})
}

func TestOnlyOneServiceRunsOnAHost(t *testing.T) {
	eachBackend(t, func(t *testing.T, s *served) {
		first := s.run()
		s.says(1, fmt.Sprintf("knockd: error: another knockd run (process %d) looks after this host already\nknockd: hint: to see what it does: knockd watch\n", first.cmd.Process.Pid), "run")
	})
}

// TestWithTheGroupTakenByAStrangerTheServiceDoesEverythingElse lets the test be the
// stranger: leases are seen by looking at the kernel.
func TestWithTheGroupTakenByAStrangerTheServiceDoesEverythingElse(t *testing.T) {
	s := newServedOn(t, "nftables") // who reports makes no difference
	var group *events.Group
	if err := s.host.Do(func() (err error) {
		group, err = events.OpenGroup(backend.LogGroup)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer group.Close()
	notified := s.notifications()
	service := s.start("run")
	service.logs("another program listens to NFLOG group 7115")
	s.eventually("it has looked at the kernel already", soon, func() bool {
		return strings.Count(notified.String(), "\nSTATUS=1 profile installed, 0 leases remembered") >= 2 // the first says that it is ready
	})
	s.knock(lab.ForgedAddr4(1), "icmp", "7/tcp", "8000/tcp")
	eventuallyHas(t, notified, "1 lease remembered", soon)
	s.flush()
	s.eventually("the gate is closed again", repair, func() bool { return !s.answers(lab.ForgedAddr4(2)) })
	if !s.answers(lab.ForgedAddr4(1)) {
		t.Error("the lease is lost")
	}
	if err := group.Close(); err != nil {
		t.Fatal(err)
	}
	service.logs("role=\"listens to the kernel\"")
}

func TestAFileThatIsHalfWrittenOrWrongChangesNothing(t *testing.T) {
	eachBackend(t, func(t *testing.T, s *served) {
		service := s.run()
		file := filepath.Join(s.config, "profiles", "mysql.toml")
		f, err := os.Create(file)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteString("sequence = [\"icmp\", \"7/t"); err != nil {
			t.Fatal(err)
		}
		service.logs("not reloaded: nothing has changed")
		service.logs("profile mysql has an error: " + file + ":1: ")
		if s.knock(lab.ForgedAddr4(1), "icmp", "7/tcp", "8000/tcp"); !s.answers(lab.ForgedAddr4(1)) || s.answers(lab.ForgedAddr4(2)) {
			t.Error("the last good state is gone")
		}
		if _, err := f.WriteString("cp\", \"9000/tcp\"]\nopen = [\"3306/tcp\"]\n"); err != nil {
			t.Fatal(err)
		}
		service.logs("msg=reloaded")
		if s.knock(lab.ForgedAddr4(3), "icmp", "7/tcp", "9000/tcp"); !s.answers(lab.ForgedAddr4(3)) || !s.answers(lab.ForgedAddr4(1)) {
			t.Error("the new sequence does not open, or the old lease is gone")
		}
	})
}

func TestADeletedFileEndsItsGateAndTheLastOneDoesNot(t *testing.T) {
	eachBackend(t, func(t *testing.T, s *served) {
		s.profile("web", web)
		labtest.Listen(t, s.host, "tcp", "[::]:80")
		service := s.run()
		s.remove("mysql")
		service.logs("no gate any more")
		if !s.answers(lab.ForgedAddr4(1)) {
			t.Error("3306/tcp is closed still")
		}
		s.remove("web")
		service.logs("there is no profile file any more")
		if out := s.must("status").Stdout; !strings.Contains(out, "web") {
			t.Errorf("the last gate is gone:\n%s", out)
		}
	})
}

func (s *served) remove(profile string) {
	s.t.Helper()
	if err := os.Remove(filepath.Join(s.config, "profiles", profile+".toml")); err != nil {
		s.t.Fatal(err)
	}
}

// TestAFullDiskChangesNothing lets an editor write to a folder that has no room:
// what it leaves is an empty file.
func TestAFullDiskChangesNothing(t *testing.T) {
	eachBackend(t, func(t *testing.T, s *served) {
		profiles := filepath.Join(s.config, "profiles")
		if err := unix.Mount("tmpfs", profiles, "tmpfs", 0, "size=8k"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := unix.Unmount(profiles, unix.MNT_DETACH); err != nil {
				t.Error(err)
			}
		})
		s.profile("mysql", articleProfile)
		service := s.run()
		if err := os.WriteFile(filepath.Join(profiles, "filler"), make([]byte, 4096), 0o600); err != nil {
			t.Fatal(err)
		}
		big := articleProfile + strings.Repeat("# a longer comment\n", 400)
		if err := os.WriteFile(filepath.Join(profiles, "mysql.toml"), []byte(big), 0o600); err == nil {
			t.Fatal("there was room")
		}
		if err := os.Truncate(filepath.Join(profiles, "mysql.toml"), 0); err != nil {
			t.Fatal(err)
		}
		service.logs("not reloaded: nothing has changed")
		s.flush() // repaired from memory: nothing needs the disk
		service.logs("the rules had been changed")
		if s.answers(lab.ForgedAddr4(2)) {
			t.Error("the gate is open")
		}
		if s.knock(lab.ForgedAddr4(1), "icmp", "7/tcp", "8000/tcp"); !s.answers(lab.ForgedAddr4(1)) {
			t.Error("knocking does not open")
		}
	})
}
