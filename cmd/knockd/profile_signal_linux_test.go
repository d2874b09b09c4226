package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/creack/pty"

	"knockkit/internal/lab/labtest"
)

// copies returns what the copies of profiles say that edits have left.
func (s *site) copies() (texts string) {
	s.t.Helper()
	files, err := filepath.Glob(filepath.Join(s.config, "profiles", ".edit-*", "*"))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			s.t.Fatal(err)
		}
		texts += string(text)
	}
	return texts
}

// scripted returns a setting of $EDITOR: a shell script, whose $1 is the copy.
func (s *site) scripted(script string) string {
	s.t.Helper()
	file := filepath.Join(s.t.TempDir(), "editor.sh")
	s.write(file, script)
	return "EDITOR=sh " + file
}

// TestKeysBelongToTheEditorWhileItRuns: one that takes Ctrl-C, as ed and vi do, goes on, and so does
// the edit. One that Ctrl-C ends has saved what it has saved.
func TestKeysBelongToTheEditorWhileItRuns(t *testing.T) {
	labtest.NeedRoot(t)
	labtest.Need(t, "iptables-restore")
	const changed = "knockd: profile mysql changed\nknockd: clients need a new link: knockd profile link mysql\nknockd: install it with: knockd install mysql\n"
	for _, c := range []struct {
		name, script, key string
		code              int
		ends, copies      string
	}{
		{"Ctrl-C", "trap \"sed -i s/3306/3307/ $1; exit 0\" INT\necho 'ed?'\nread line\n", "^C", 0, "", ""},
		{"Ctrl-\\", "trap \"sed -i s/3306/3307/ $1; exit 0\" QUIT\necho 'ed?'\nread line\n", "^\\", 0, "", ""},
		{"Ctrl-C that ends it", "echo 'ed?'\nread line\n", "^C", 130, "knockd: error: interrupted\n", ""},
		{"Ctrl-C that ends it behind a save", "sed -i s/3306/3307/ $1\necho 'ed?'\nread line\n", "^C", 130, "knockd: error: interrupted\n", "3307"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t)
			s.profile("mysql", mysql)
			cmd := s.command("profile", "edit", "mysql")
			cmd.Env = append(cmd.Env, s.scripted(c.script), "VISUAL=", "TERM=vt100", "NO_COLOR=1", "SSH_CONNECTION=")
			answers := []string{c.key}
			if c.code == 0 {
				answers, c.ends = append(answers, "no"), changed
			}
			said := s.converses(cmd, answers...)
			if code := cmd.ProcessState.ExitCode(); code != c.code || !strings.HasSuffix(strings.ReplaceAll(said, "install it now, yes or no?\nno\nknockd: ", ""), c.ends) {
				t.Errorf("exit %d, want %d; it says\n%swant at the end\n%s", code, c.code, said, c.ends)
			}
			text, err := os.ReadFile(filepath.Join(s.config, "profiles", "mysql.toml"))
			if err != nil || strings.Contains(string(text), "3307") != (c.code == 0) {
				t.Errorf("%v, the file is\n%s", err, text)
			}
			if left := s.copies(); (left != "") != (c.copies != "") || !strings.Contains(left, c.copies) {
				t.Errorf("it leaves %q", left)
			}
			if strings.Contains(said, "nothing was written; your text is in ") != (c.copies != "") {
				t.Errorf("it says\n%s", said)
			}
		})
	}
}

// TestWhatWasSavedOutlivesAnEditThatIsCutOff by a signal, while the editor runs or at a question, and
// by the end of the terminal. An unchanged copy goes.
func TestWhatWasSavedOutlivesAnEditThatIsCutOff(t *testing.T) {
	labtest.NeedRoot(t)
	labtest.Need(t, "iptables-restore")
	for name, c := range map[string]struct {
		script string
		end    func(p *os.Process, terminal *os.File) error
		code   int
		said   string // "" where nobody can read it
		copies string
	}{
		"SIGTERM behind a save":              {"sed -i s/3306/3307/ $1\necho 'ed?'\nread line\n", signals(syscall.SIGTERM), 143, "your text is in ", "3307"},
		"SIGHUP behind a save":               {"sed -i s/3306/3307/ $1\necho 'ed?'\nread line\n", signals(syscall.SIGHUP), 129, "your text is in ", "3307"},
		"SIGTERM without one":                {"echo 'ed?'\nread line\n", signals(syscall.SIGTERM), 143, "interrupted by SIGTERM", ""},
		"SIGTERM at a question":              {"sed -i s/3306/330699/ $1\n", signals(syscall.SIGTERM), 143, "your text is in ", "330699"},
		"the terminal is gone at a question": {"sed -i s/3306/330699/ $1\n", func(_ *os.Process, terminal *os.File) error { return terminal.Close() }, -1, "", "330699"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.profile("mysql", mysql)
			cmd := s.command("profile", "edit", "mysql")
			cmd.Env = append(cmd.Env, s.scripted(c.script), "VISUAL=", "TERM=vt100", "NO_COLOR=1", "SSH_CONNECTION=")
			var terminal *os.File
			if err := s.host.Do(func() (err error) {
				terminal, err = pty.Start(cmd)
				return err
			}); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				_ = cmd.Process.Kill() // fails if it has ended
				terminal.Close()
			})
			said := ""
			for b := make([]byte, 1); !strings.HasSuffix(said, "?\r\n"); said += string(b) {
				if _, err := terminal.Read(b); err != nil {
					t.Fatalf("%v after %q", err, said)
				}
			}
			if err := c.end(cmd.Process, terminal); err != nil {
				t.Fatal(err)
			}
			rest, _ := io.ReadAll(terminal) // ends with an error, once nobody has the other side open
			said += string(rest)
			_ = cmd.Wait() // the code is looked at
			if code := cmd.ProcessState.ExitCode(); c.code >= 0 && code != c.code || !strings.Contains(said, c.said) {
				t.Errorf("exit %d, want %d; it says\n%swant\n%s", code, c.code, said, c.said)
			}
			if left := s.copies(); (left != "") != (c.copies != "") || !strings.Contains(left, c.copies) {
				t.Errorf("it leaves %q", left)
			}
			if text, err := os.ReadFile(filepath.Join(s.config, "profiles", "mysql.toml")); err != nil || string(text) != mysql {
				t.Errorf("%v, the file is\n%s", err, text)
			}
		})
	}
}

// signals sends a signal to the program and its editor, as a system that goes down does.
func signals(sig syscall.Signal) func(*os.Process, *os.File) error {
	return func(p *os.Process, _ *os.File) error { return syscall.Kill(-p.Pid, sig) }
}
