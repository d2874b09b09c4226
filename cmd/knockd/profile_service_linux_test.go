package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
)

// tells runs a command beside a service, and fails unless it ends with the code and says exactly
// that, with PROCESS for the service.
func (r *running) tells(code int, words string, args ...string) {
	r.s.t.Helper()
	out := r.s.knockd(args...)
	words = strings.ReplaceAll(words, "PROCESS", fmt.Sprintf("knockd run (process %d)", r.cmd.Process.Pid))
	if out.Code != code || out.Stderr != words {
		r.s.t.Errorf("knockd %s: exit %d, want %d; it says\n%swant\n%s", strings.Join(args, " "), out.Code, code, out.Stderr, words)
	}
}

// TestBesideAServiceEachCommandOfProfilesSaysWhatTheKernelHasNow: the gate is there, or gone, when
// the command says so.
func TestBesideAServiceEachCommandOfProfilesSaysWhatTheKernelHasNow(t *testing.T) {
	eachBackendAtOnce(t, func(t *testing.T, s *served) {
		stranger := lab.ForgedAddr4(1)
		file := filepath.Join(s.config, "profiles", "mysql.toml")
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		service := s.run()
		gated := func(want bool, after string) {
			t.Helper()
			if s.answers(stranger) == want {
				t.Errorf("%s: that the port is behind a gate is %v", after, !want)
			}
		}
		gated(false, "at first")
		service.tells(0, "knockd: a lease opens 3306/tcp, for 1h\nknockd: PROCESS has installed it; closed now, except to holders of a lease: 3306/tcp\n", "profile", "new", "mysql")
		gated(true, "new")
		other := filepath.Join(t.TempDir(), "web.toml")
		s.write(other, strings.ReplaceAll(web, "80/tcp", "3306/tcp\", \"80/tcp"))
		service.tells(0, "knockd: profile web added\nknockd: PROCESS has installed it; closed now, except to holders of a lease: 3306/tcp 80/tcp\n", "profile", "add", other)
		service.tells(0, "knockd: "+file+" removed\nknockd: PROCESS has removed its gate; still behind a gate: 3306/tcp (web)\n", "profile", "remove", "mysql")
		gated(true, "one of two removed")
		s.write(other, "enabled = false\n"+strings.ReplaceAll(web, "80/tcp", "81/tcp"))
		service.tells(0, "knockd: profile web added\nknockd: clients need a new link: knockd profile link web\nknockd: PROCESS has removed its gate; the host's other rules decide now about 3306/tcp 80/tcp\n", "profile", "add", "--force", other)
		gated(false, "disabled")
		s.write(other, web+"interface = \"lo\"\nfamily = \"ipv4\"\nclosed = \"continue\"\n")
		out := s.must("profile", "add", "--force", other)
		if want := "has installed it; a lease opens 80/tcp, on lo, over IPv4 now; without one the host's other rules decide\n"; !strings.HasSuffix(out.Stderr, want) {
			t.Errorf("it says\n%swant at the end\n%s", out.Stderr, want)
		}
	})
}

// TestAnImportBesideAServiceSaysWhatTheKernelHasNow, not that its profiles should be tried first.
func TestAnImportBesideAServiceSaysWhatTheKernelHasNow(t *testing.T) {
	s := newServedOn(t, "nftables")
	service := s.run()
	file := filepath.Join(t.TempDir(), "knockd.conf")
	s.write(file, "[ssh]\n\tsequence = 7000,8000,9000\n\ttcpflags = syn\n\tcommand = iptables -A INPUT -s %IP% -p tcp --dport 22 -j ACCEPT\n")
	out := s.must("import", file)
	want := fmt.Sprintf("knockd: look at them: knockd profile check ssh\nknockd: knockd run (process %d) has installed it; closed now, except to holders of a lease: 22/tcp, over IPv4\n", service.cmd.Process.Pid)
	if !strings.HasSuffix(out.Stderr, want) || strings.Contains(out.Stderr, "try them") {
		t.Errorf("it says\n%swant at the end\n%s", out.Stderr, want)
	}
}

// TestAServiceThatRefusesIsNotSaidToHaveDoneIt: the file is changed, the kernel is not.
func TestAServiceThatRefusesIsNotSaidToHaveDoneIt(t *testing.T) {
	s := newServedOn(t, "nftables")
	service := s.run()
	file := filepath.Join(s.config, "profiles", "mysql.toml")
	const hint = "knockd: hint: what is wrong with the files says: knockd profile check; what is installed: knockd status\n"
	service.tells(1, "knockd: "+file+" removed\nknockd: error: PROCESS has not taken it up: there is no profile file any more: to end all gates, stop the service, then `knockd remove --all`\n"+hint, "profile", "remove", "mysql")
	if s.answers(lab.ForgedAddr4(1)) {
		t.Error("the gate is gone")
	}
	// What another file had wrong before is no reason when it is mended.
	s.profile("broken", "open = 1\n")
	service.logs("broken")
	out := s.knockd("profile", "new", "ssh")
	if out.Code != 1 || !strings.Contains(out.Stderr, "has not taken it up: profile broken has ") {
		t.Errorf("exit %d, %s", out.Code, out.Stderr)
	}
	good := filepath.Join(t.TempDir(), "broken.toml")
	s.write(good, web)
	service.tells(0, "knockd: profile broken added\nknockd: PROCESS has installed it; closed now, except to holders of a lease: 80/tcp\n"+
		"knockd: PROCESS has also installed ssh; closed now, except to holders of a lease: 22/tcp\n"+
		"knockd: PROCESS has also removed the gate of mysql; the host's other rules decide now about 3306/tcp\n", "profile", "add", "--force", good)
}

// TestAServiceOfAnotherFolderIsNamed: it installs nothing of this one.
func TestAServiceOfAnotherFolderIsNamed(t *testing.T) {
	s := newServedOn(t, "nftables")
	service := s.run()
	theirs := s.config
	s.config = t.TempDir()
	service.tells(0, "knockd: a lease opens 22/tcp, for 1h\nknockd: warning: PROCESS installs the profiles of "+theirs+", and none of "+s.config+"\n", "profile", "new", "ssh")
	service.tells(0, "knockd: "+filepath.Join(s.config, "profiles", "ssh.toml")+" removed\nknockd: warning: PROCESS installs the profiles of "+theirs+", and none of "+s.config+"\n", "profile", "remove", "ssh")
	// One folder by two names is one.
	s.config = filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(theirs, s.config); err != nil {
		t.Fatal(err)
	}
	service.tells(0, "knockd: a lease opens 22/tcp, for 1h\nknockd: PROCESS has installed it; closed now, except to holders of a lease: 22/tcp\n", "profile", "new", "ssh")
}

// TestAProfileThatAServiceWouldLockItsCallerOutWithIsRefused, as an install of it is: nothing is
// written.
func TestAProfileThatAServiceWouldLockItsCallerOutWithIsRefused(t *testing.T) {
	s := newServedOn(t, "nftables")
	s.env = append(s.env, "SSH_CONNECTION="+strings.ReplaceAll(session4, "2222", "22"))
	file := filepath.Join(s.config, "profiles", "ssh.toml")
	s.must("profile", "new", "ssh") // nothing installs it
	s.must("profile", "remove", "ssh")
	service := s.run()
	service.tells(2, "knockd: error: profile ssh closes 22/tcp, by which you are connected from 198.51.100.7; PROCESS would install it at once\n"+
		"knockd: hint: add --allow-lockout if you are sure; to try it, stop the service first, then: knockd install ssh --try 30s\n", "profile", "new", "ssh")
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("the file: %v", err)
	}
	service.tells(0, "knockd: a lease opens 22/tcp, for 1h\nknockd: PROCESS has installed it; closed now, except to holders of a lease: 22/tcp\n", "profile", "new", "ssh", "--allow-lockout")
}

// TestWithoutAServiceARemovalSaysWhetherTheGateIsStillThere.
func TestWithoutAServiceARemovalSaysWhetherTheGateIsStillThere(t *testing.T) {
	labtest.NeedRoot(t)
	labtest.Need(t, "iptables-restore")
	s := newSite(t)
	s.profile("mysql", mysql)
	s.profile("web", web)
	s.must("install", "mysql")
	in := func(name string) string { return filepath.Join(s.config, "profiles", name+".toml") }
	s.says(0, "knockd: "+in("mysql")+" removed\nknockd: its gate stays until: knockd remove mysql\n", "profile", "remove", "mysql")
	s.says(0, "knockd: "+in("web")+" removed\n", "profile", "remove", "web")
}

// TestWhatAServiceMadeOfANewProfileIsSaidWhereItsFileCannotBePrinted: its port is closed.
func TestWhatAServiceMadeOfANewProfileIsSaidWhereItsFileCannotBePrinted(t *testing.T) {
	s := newServedOn(t, "nftables")
	service := s.run()
	out := s.site.try("", "sh", "-c", `exec "$@" >/dev/full`, "sh", program(t), "--config", s.config, "profile", "new", "web", "--open", "80/tcp")
	want := fmt.Sprintf("knockd: written: %s\nknockd: a lease opens 80/tcp, for 1h\nknockd: knockd run (process %d) has installed it; closed now, except to holders of a lease: 80/tcp\nknockd: error: write: write /dev/stdout: no space left on device\n",
		filepath.Join(s.config, "profiles", "web.toml"), service.cmd.Process.Pid)
	if out.Code != 1 || out.Stderr != want {
		t.Errorf("exit %d; it says\n%swant\n%s", out.Code, out.Stderr, want)
	}
}

// TestWhatWaitedForABrokenFileIsSaidWhenTheFileIsMendedOrGone: the service installs all of the folder
// then, whatever profile the command is about.
func TestWhatWaitedForABrokenFileIsSaidWhenTheFileIsMendedOrGone(t *testing.T) {
	s := newServedOn(t, "nftables")
	in := func(name string) string { return filepath.Join(s.config, "profiles", name+".toml") }
	good := filepath.Join(t.TempDir(), "bad.toml")
	s.write(good, web)
	service := s.run()
	const shut = "closed now, except to holders of a lease: "
	for i, c := range []struct {
		words string
		args  []string
	}{
		{"knockd: " + in("bad") + " removed\nknockd: PROCESS has no gate for it\n", []string{"profile", "remove", "bad"}},
		{"knockd: profile bad added\nknockd: PROCESS has installed it; " + shut + "80/tcp\n", []string{"profile", "add", "--force", good}},
		{"knockd: profile bad changed\nknockd: PROCESS has installed it; " + shut + "80/tcp\n", []string{"profile", "edit", "bad"}},
	} {
		was, port := fmt.Sprintf("waits%d", i), fmt.Sprintf("%d/tcp", 8443+i)
		broken := strings.Count(service.log.String(), "not reloaded")
		s.profile("bad", "open = 1\n")
		s.eventually("the folder is refused", soon, func() bool { return strings.Count(service.log.String(), "not reloaded") > broken })
		if out := s.knockd("profile", "new", was, "--open", port); out.Code != 1 || !strings.Contains(out.Stderr, "has not taken it up: profile bad has ") {
			t.Errorf("exit %d, %s", out.Code, out.Stderr)
		}
		also := "knockd: PROCESS has also installed " + was + "; " + shut + port + "\n"
		if i == 1 { // one that changes, and one that goes, have waited, too
			s.profile("waits0", strings.ReplaceAll(web, "80/tcp", "8001/tcp"))
			s.remove("mysql")
			also = "knockd: PROCESS has also installed waits0; " + shut + "8001/tcp; the host's other rules decide now about 8443/tcp\n" + also +
				"knockd: PROCESS has also removed the gate of mysql; the host's other rules decide now about 3306/tcp\n"
		}
		s.env = []string{s.editor("cp " + good)}
		service.tells(0, c.words+also, c.args...)
	}
}

// TestAMendedFolderThatLocksItsCallerOutIsRefused: the gate over the session's port is not that of the
// profile that the command is about.
func TestAMendedFolderThatLocksItsCallerOutIsRefused(t *testing.T) {
	s := newServedOn(t, "nftables")
	s.env = append(s.env, "SSH_CONNECTION="+strings.ReplaceAll(session4, "2222", "22"))
	service := s.run()
	s.profile("bad", "open = 1\n")
	s.profile("worse", "open = 1\n")
	service.logs("not reloaded")
	s.profile("ssh", strings.ReplaceAll(web, "80/tcp", "22/tcp"))
	good := filepath.Join(t.TempDir(), "bad.toml")
	s.write(good, strings.ReplaceAll(web, "80/tcp", "81/tcp"))
	s.env = append(s.env, s.editor("cp "+good))
	in := func(name string) string { return filepath.Join(s.config, "profiles", name+".toml") }
	const kept = "knockd: hint: what is wrong with the files says: knockd profile check; what is installed: knockd status\n"
	if out := s.knockd("profile", "remove", "worse"); out.Code != 1 || !strings.Contains(out.Stderr, "has not taken it up: profile bad has ") || !strings.HasSuffix(out.Stderr, kept) {
		t.Errorf("while another is broken: exit %d, %s", out.Code, out.Stderr)
	}
	const refused = "knockd: error: profile ssh closes 22/tcp, by which you are connected from 198.51.100.7; PROCESS would install it at once\n" +
		"knockd: hint: add --allow-lockout if you are sure; to try it, stop the service first, then: knockd install ssh --try 30s\n"
	service.tells(2, refused, "profile", "remove", "bad")
	service.tells(2, refused, "profile", "add", "--force", good)
	service.tells(2, refused+"knockd: profile bad is as it was\n", "profile", "edit", "bad")
	if text, err := os.ReadFile(in("bad")); err != nil || string(text) != "open = 1\n" {
		t.Errorf("%v, the file is\n%s", err, text)
	}
	service.tells(0, "knockd: "+in("bad")+" removed\nknockd: PROCESS has no gate for it\nknockd: PROCESS has also installed ssh; closed now, except to holders of a lease: 22/tcp\n",
		"profile", "remove", "bad", "--allow-lockout")
}

// TestWhatTheServiceWouldNotInstallLocksNobodyOut: two files that exclude each other keep all of the
// folder from being installed.
func TestWhatTheServiceWouldNotInstallLocksNobodyOut(t *testing.T) {
	s := newServedOn(t, "nftables")
	s.env = append(s.env, "SSH_CONNECTION="+strings.ReplaceAll(session4, "2222", "22"))
	service := s.run()
	s.profile("ssh", strings.ReplaceAll(web, "80/tcp", "22/tcp"))
	s.profile("other", "sequence = [\"22/tcp\", \"7500/udp\"]\nopen = [\"81/tcp\"]\n")
	service.logs("not reloaded")
	out := s.knockd("profile", "new", "more", "--open", "999/tcp")
	if out.Code != 1 || !strings.Contains(out.Stderr, "has not taken it up: ") || strings.Contains(out.Stderr, "closes 22/tcp") {
		t.Errorf("exit %d, %s", out.Code, out.Stderr)
	}
}
