package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
)

// quick runs the program, and fails if it waits for something.
func (s *site) quick(args ...string) lab.Output {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 30*time.Second)
	defer cancel()
	out, err := s.host.Run(ctx, "", program(s.t), append([]string{"--config", s.config}, args...)...)
	if err != nil {
		s.t.Errorf("knockd %s: %v", strings.Join(args, " "), err)
	}
	return out
}

func fifo(t *testing.T, path string) string {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), syscall.Mkfifo(path, 0o600)); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestNoCommandWaitsForAPipe: of those that are no file, each is named, with exit 2.
func TestNoCommandWaitsForAPipe(t *testing.T) {
	labtest.NeedRoot(t)
	s := newSite(t)
	s.profile("mysql", mysql)
	pipe := fifo(t, filepath.Join(t.TempDir(), "x.toml"))
	for _, args := range [][]string{{"import", pipe}, {"profile", "add", pipe}, {"profile", "check", pipe}, {"import", "/dev/zero"}, {"import", "/proc/kcore"}, {"import", t.TempDir()}} {
		out := s.quick(args...)
		if out.Code != 2 || !strings.Contains(out.Stderr, "is not a regular file") && args[1] != "/proc/kcore" {
			t.Errorf("knockd %s: exit %d\n%s", strings.Join(args, " "), out.Code, out.Stderr)
		}
	}
	fifo(t, filepath.Join(s.config, "profiles", "pipe.toml"))
	for _, args := range [][]string{{"profile", "list"}, {"profile", "check"}, {"install"}, {"render"}, {"status"}} {
		s.quick(args...)
	}
	if err := os.Remove(filepath.Join(s.config, "knockd.toml")); err != nil {
		t.Fatal(err)
	}
	fifo(t, filepath.Join(s.config, "knockd.toml"))
	for _, args := range [][]string{{"profile", "list"}, {"status"}, {"run"}, {"grant", "mysql", "10.9.0.1"}} {
		if out := s.quick(args...); out.Code != 2 || !strings.Contains(out.Stderr, "knockd.toml is not a regular file: it is a pipe") {
			t.Errorf("knockd %s: exit %d\n%s", strings.Join(args, " "), out.Code, out.Stderr)
		}
	}
}

// TestAnImportTakesWhatTheShellHandsOver: <(COMMAND), a redirection, and "-".
func TestAnImportTakesWhatTheShellHandsOver(t *testing.T) {
	labtest.Need(t, "bash")
	s := newSite(t)
	file := filepath.Join(t.TempDir(), "knockd.conf")
	s.write(file, "[web]\n\tsequence = 7000,8000,9000\n\tcommand = iptables -A INPUT -s %IP% -p tcp --dport 80 -j ACCEPT\n\ttcpflags = syn\n")
	for _, how := range []string{"<(sleep 0.1; cat FILE)", "- < FILE", "/dev/stdin < FILE", "FILE"} {
		line := program(t) + " --config " + s.config + " import --dry-run " + strings.ReplaceAll(how, "FILE", file)
		out, err := exec.Command("bash", "-c", line).CombinedOutput()
		if err != nil || !strings.Contains(string(out), `sequence = ["7000/tcp", "8000/tcp", "9000/tcp"]`) {
			t.Errorf("%s: %v\n%s", how, err, out)
		}
	}
	// Nobody writes, and the person gives up.
	cmd := s.command("import", "-")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	cmd.Stdin = r
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	labtest.Eventually(t, soon, func() error {
		_ = cmd.Process.Signal(os.Interrupt) // which may come before it listens
		select {
		case err := <-ended:
			if err == nil {
				return errors.New("it ended well")
			}
			return nil
		case <-time.After(50 * time.Millisecond):
			return errors.New("it waits still")
		}
	})
}

// TestAProfileIsAddedAsItWasChecked: the file is opened once, so that nobody can put
// another text there after the check.
func TestAProfileIsAddedAsItWasChecked(t *testing.T) {
	s := newSite(t)
	file := filepath.Join(t.TempDir(), "mysql.toml")
	s.write(file, mysql)
	watch, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(watch)
	if _, err := unix.InotifyAddWatch(watch, file, unix.IN_OPEN|unix.IN_CLOSE); err != nil {
		t.Fatal(err)
	}
	s.must("profile", "add", file)
	buffer := make([]byte, 64*unix.SizeofInotifyEvent)
	n, err := unix.Read(watch, buffer)
	if err != nil || n != 2*unix.SizeofInotifyEvent {
		t.Errorf("%d events, error %v, want that it was opened and closed", n/unix.SizeofInotifyEvent, err)
	}
	if added, err := os.ReadFile(filepath.Join(s.config, "profiles", "mysql.toml")); err != nil || string(added) != mysql {
		t.Errorf("added is %q, error %v", added, err)
	}
	// And it replaces nothing that came there meanwhile.
	if out := s.knockd("profile", "add", file); out.Code != 2 || !strings.Contains(out.Stderr, "is there already") {
		t.Errorf("exit %d\n%s", out.Code, out.Stderr)
	}
}

// TestFilesThatOthersMayWriteAreRefused by every command that reads them, with what to do.
func TestFilesThatOthersMayWriteAreRefused(t *testing.T) {
	eachBackend(t, func(t *testing.T, s *served) {
		s.must("install", "mysql")
		profile, settings := filepath.Join(s.config, "profiles", "mysql.toml"), filepath.Join(s.config, "knockd.toml")
		before := s.must("render").Stdout
		for _, c := range []struct {
			path string
			mode os.FileMode
			args [][]string
		}{
			{profile, 0o664, [][]string{{"install"}, {"install", "mysql"}, {"render", "mysql"}, {"profile", "check"}, {"profile", "show", "mysql"}, {"graph", "mysql"}, {"explain", "mysql", "--", "icmp"}}},
			{profile, 0o606, [][]string{{"install"}}},
			{filepath.Dir(profile), 0o775, [][]string{{"install"}, {"profile", "list"}, {"profile", "new", "x", "--open", "80/tcp"}, {"profile", "add", "../../examples/mysql.toml"}, {"run"}}},
			{s.config, 0o777, [][]string{{"install"}, {"run"}, {"grant", "mysql", "10.9.0.1"}, {"profile", "new", "x", "--open", "80/tcp"}}},
			{settings, 0o664, [][]string{{"install"}, {"status"}, {"grant", "mysql", "10.9.0.1"}, {"run"}, {"profile", "list"}}},
		} {
			was, err := os.Stat(c.path)
			if err == nil {
				err = os.Chmod(c.path, c.mode)
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, args := range c.args {
				out := s.quick(args...)
				if out.Code != 2 || !strings.Contains(out.Stderr, c.path+" can be written by others than its owner") || !strings.Contains(out.Stderr, "knockd: hint: chmod go-w "+c.path+"\n") {
					t.Errorf("%s has mode %o; knockd %s: exit %d\n%s", c.path, c.mode, strings.Join(args, " "), out.Code, out.Stderr)
				}
			}
			if err := os.Chmod(c.path, was.Mode()); err != nil {
				t.Fatal(err)
			}
		}
		if after := s.must("render").Stdout; after != before {
			t.Errorf("it renders\n%s\nand did\n%s", after, before)
		}
		if _, err := os.Stat(filepath.Join(s.config, "profiles", "x.toml")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("a refused command has made a file: %v", err)
		}
		if err := os.Chown(profile, 12345, 12345); err != nil {
			t.Fatal(err)
		}
		if out := s.knockd("install"); out.Code != 2 || !strings.Contains(out.Stderr, "belongs to user 12345") || !strings.Contains(out.Stderr, "chown root "+profile) {
			t.Errorf("exit %d\n%s", out.Code, out.Stderr)
		}
	})
}

// TestTheServiceKeepsItsGatesWhenAFileBecomesWritable: what others may have written is
// not installed, and not taken for a removal; when the rights are right it is read.
func TestTheServiceKeepsItsGatesWhenAFileBecomesWritable(t *testing.T) {
	eachBackend(t, func(t *testing.T, s *served) {
		service := s.run()
		file := filepath.Join(s.config, "profiles", "mysql.toml")
		stranger, holder := lab.ForgedAddr4(1), lab.ForgedAddr4(2)
		if err := os.Chmod(file, 0o666); err != nil {
			t.Fatal(err)
		}
		service.logs("not reloaded: nothing has changed")
		service.logs("mysql.toml can be written by others than its owner")
		s.write(file, strings.Replace(articleProfile, "3306", "3307", 1)) // whoever it was
		fifo(t, filepath.Join(s.config, "profiles", "pipe.toml"))
		service.logs("is not a regular file")
		if s.answers(stranger) {
			t.Error("the gate is open to a stranger")
		}
		s.knock(holder, "icmp", "7/tcp", "8000/tcp")
		if !s.answers(holder) {
			t.Error("the gate does not open to who knocks")
		}
		s.write(file, articleProfile+"lease = \"2h\"\n")
		if err := errors.Join(os.Remove(filepath.Join(s.config, "profiles", "pipe.toml")), os.Chmod(file, 0o600)); err != nil {
			t.Fatal(err)
		}
		service.logs("msg=reloaded")
		if s.answers(stranger) || !s.answers(holder) {
			t.Error("after the reload the gate is not as it was")
		}
	})
}

// TestASequenceThatAllCanReadIsWarnedAbout, where they can reach the file at all.
func TestASequenceThatAllCanReadIsWarnedAbout(t *testing.T) {
	dir, err := os.MkdirTemp("/tmp", "knockd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := newSite(t)
	s.config = dir
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s.profile("mysql", mysql)
	file := filepath.Join(dir, "profiles", "mysql.toml")
	want := file + ": warning: everybody on this host can read the sequence\n  hint: chmod go-r " + file + "\n"
	if out := s.must("profile", "check"); !strings.Contains(out.Stderr, want) {
		t.Errorf("it says\n%s", out.Stderr)
	}
	if err := os.Chmod(file, 0o640); err != nil {
		t.Fatal(err)
	}
	if out := s.must("profile", "check"); strings.Contains(out.Stderr, "read the sequence") {
		t.Errorf("it says\n%s", out.Stderr)
	}
}
