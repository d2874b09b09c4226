package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/creack/pty"

	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
)

// editor returns a setting of $VISUAL: each edit does the next of the commands to the copy.
func (s *site) editor(commands ...string) string {
	s.t.Helper()
	script, n := filepath.Join(s.t.TempDir(), "editor"), filepath.Join(s.t.TempDir(), "n")
	text := "#!/bin/sh\necho >> " + n + "\ncase $(wc -l < " + n + ") in\n"
	for i, c := range commands {
		text += fmt.Sprintf("%d) %s \"$1\" ;;\n", i+1, c)
	}
	s.write(script, text+"*) exit 9 ;;\nesac\n")
	if err := os.Chmod(script, 0o755); err != nil {
		s.t.Fatal(err)
	}
	return "VISUAL=" + script
}

// converses runs a command on a terminal, where each question gets the next answer, and returns all
// that was shown. The answers "^C" and "^\\" are keys.
func (s *site) converses(cmd *exec.Cmd, answers ...string) string {
	s.t.Helper()
	var terminal *os.File
	if err := s.host.Do(func() (err error) {
		terminal, err = pty.Start(cmd)
		return err
	}); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		_ = cmd.Process.Kill() // fails if it has ended
		terminal.Close()
	})
	said := &safeBuffer{}
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = io.Copy(said, terminal) // ends with an error, once nobody has the other side open
	}()
	for i, a := range answers {
		labtest.Eventually(s.t, soon, func() error {
			if n := strings.Count(said.String(), "?\r\n"); n <= i {
				return fmt.Errorf("question %d is not asked: %q", i, said.String())
			}
			return nil
		})
		if _, err := io.WriteString(terminal, strings.NewReplacer("^C\n", "\x03", "^\\\n", "\x1c").Replace(a+"\n")); err != nil {
			s.t.Fatal(err)
		}
	}
	_ = cmd.Wait() // the code is looked at
	<-read
	return strings.ReplaceAll(withoutTables(strings.ReplaceAll(said.String(), "\r", "")), "\x1b", "")
}

// TestOnATerminalAWrongTextIsEditedAgainOrLeft, and a right one is installed if that is wanted.
func TestOnATerminalAWrongTextIsEditedAgainOrLeft(t *testing.T) {
	labtest.NeedRoot(t)
	labtest.Need(t, "iptables-restore")
	wrong, right := `sed -i s/3306/330699/`, `sed -i s/330699/3307/`
	const again, offer = "edit again (e), or leave and change nothing (x)?\n", "install it now, yes or no?\n"
	for _, c := range []struct {
		name    string
		edits   []string
		answers []string
		code    int
		file    string // what it opens then
		rules   string // what the kernel has then, "" for nothing
		ends    string
	}{
		{"left", []string{wrong}, []string{"x"}, 2, "3306", "", again + "x\nknockd: profile mysql is as it was\n"},
		{"an answer that is none", []string{wrong}, []string{"maybe", "x"}, 2, "3306", "", again + "x\nknockd: profile mysql is as it was\n"},
		{"mended and installed", []string{wrong, right}, []string{"e", "yes"}, 0, "3307", "--dport 3307", offer + "yes\nknockd: installed: mysql (iptables)\n"},
		{"mended and not installed", []string{wrong, right}, []string{"e", "no"}, 0, "3307", "", offer + "no\nknockd: install it with: knockd install mysql\n"},
		{"undone", []string{wrong, `sed -i s/330699/3306/`}, []string{"e"}, 0, "3306", "", "knockd: unchanged\n"},
		{"interrupted", []string{wrong}, []string{"^C"}, 130, "3306", "", "knockd: profile mysql is as it was\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t)
			s.profile("mysql", mysql)
			cmd := s.command("profile", "edit", "mysql")
			cmd.Env = append(cmd.Env, s.editor(c.edits...), "TERM=vt100", "NO_COLOR=1", "SSH_CONNECTION=")
			said := s.converses(cmd, c.answers...)
			if code := cmd.ProcessState.ExitCode(); code != c.code || !strings.HasSuffix(said, c.ends) {
				t.Errorf("exit %d, want %d; it says\n%swant at the end\n%s", code, c.code, said, c.ends)
			}
			text, err := os.ReadFile(filepath.Join(s.config, "profiles", "mysql.toml"))
			if err != nil || !strings.Contains(string(text), `"`+c.file+`/tcp"`) {
				t.Errorf("%v, the file is\n%s", err, text)
			}
			if rules := s.rules("iptables"); c.rules == "" && strings.Contains(rules, "KNOCKD") || !strings.Contains(rules, c.rules) {
				t.Errorf("the rules are\n%s", rules)
			}
			if left, err := filepath.Glob(filepath.Join(s.config, "profiles", ".*")); err != nil || len(left) > 0 {
				t.Errorf("%v, it has left %v", err, left)
			}
		})
	}
}

// TestAnEditThatWouldLockItsCallerOutIsTreatedAsAnInstall: without a service the file is changed and
// not installed, with one it is not even changed.
func TestAnEditThatWouldLockItsCallerOutIsTreatedAsAnInstall(t *testing.T) {
	s := newServedOn(t, "nftables")
	s.profile("ssh", strings.ReplaceAll(gate, "2222", "2223"))
	s.must("install")
	file := filepath.Join(s.config, "profiles", "ssh.toml")
	s.env = append(s.env, "SSH_CONNECTION="+session4)
	cmd := s.command("profile", "edit", "ssh")
	cmd.Env = append(cmd.Env, s.editor("sed -i s/2223/2222/"), "TERM=vt100", "NO_COLOR=1")
	said := s.converses(cmd, "yes")
	const lockout = "knockd: error: profile ssh closes 2222/tcp, by which you are connected from 198.51.100.7"
	if want := lockout + "\nknockd: hint: the file is changed; try it with: knockd install ssh --try 30s\n"; cmd.ProcessState.ExitCode() != 2 || !strings.HasSuffix(said, want) {
		t.Errorf("exit %d; it says\n%swant at the end\n%s", cmd.ProcessState.ExitCode(), said, want)
	}
	s.must("profile", "remove", "ssh")
	s.profile("ssh", strings.ReplaceAll(gate, "2222", "2223"))
	service := s.run()
	s.env = append(s.env, s.editor("sed -i s/2223/2222/", "sed -i s/2223/2222/"))
	service.tells(2, lockout+"; PROCESS would install it at once\n"+
		"knockd: hint: add --allow-lockout if you are sure; to try it, stop the service first, then: knockd install ssh --try 30s\n"+
		"knockd: profile ssh is as it was\n", "profile", "edit", "ssh")
	if text, err := os.ReadFile(file); err != nil || !strings.Contains(string(text), "2223") {
		t.Errorf("%v, the file is\n%s", err, text)
	}
	service.tells(0, "knockd: profile ssh changed\nknockd: clients need a new link: knockd profile link ssh\nknockd: PROCESS has installed it; closed now, except to holders of a lease: 2222/tcp; the host's other rules decide now about 2223/tcp\n",
		"profile", "edit", "ssh", "--allow-lockout")
}

// TestAnEditIsInstalledByAServiceWhenItIsSaid, and what the kernel has already is not offered again.
func TestAnEditIsInstalledByAServiceWhenItIsSaid(t *testing.T) {
	eachBackendAtOnce(t, func(t *testing.T, s *served) {
		s.profile("mysql", mysql)
		s.must("install")
		s.env = append(s.env, s.editor("sed -i 1i#other", "sed -i s/3306/3307/", "sed -i 1ienabled=false"))
		s.says(0, "knockd: profile mysql changed\nknockd: it is installed as it is\n", "profile", "edit", "mysql")
		service := s.run()
		service.tells(0, "knockd: profile mysql changed\nknockd: clients need a new link: knockd profile link mysql\nknockd: PROCESS has installed it; closed now, except to holders of a lease: 3307/tcp; the host's other rules decide now about 3306/tcp\n", "profile", "edit", "mysql")
		if !s.answers(lab.ForgedAddr4(1)) {
			t.Error("3306/tcp is still behind the gate")
		}
		service.tells(0, "knockd: profile mysql changed\nknockd: PROCESS has removed its gate; the host's other rules decide now about 3307/tcp\n", "profile", "edit", "mysql")
	})
}

// TestACommandThatChangesASequenceSaysWhatBecomesOfLeasesAndLinks: beside a service as install does
// without one.
func TestACommandThatChangesASequenceSaysWhatBecomesOfLeasesAndLinks(t *testing.T) {
	s := newServedOn(t, "nftables")
	s.profile("mysql", mysql)
	s.must("install")
	s.must("grant", "mysql", "198.51.100.2")
	const changed, link = "knockd: profile mysql changed\n", "knockd: clients need a new link: knockd profile link mysql\n"
	const on = "knockd: mysql: the sequence is another one, and 1 lease goes on; to end them: knockd revoke mysql --all\n"
	const closed = "knockd: PROCESS has installed it; closed now, except to holders of a lease: 3306/tcp"
	s.env = append(s.env, s.editor("sed -i s/9002/8001/", "sed -i s/8001/8002/", "sed -i 1i#other", "sed -i 's/\\[.3306/[\"22\\/tcp\", \"3306/'"))
	s.says(0, changed+link+"knockd: install it with: knockd install mysql\n", "profile", "edit", "mysql")
	s.says(0, "knockd: installed again: mysql (nftables)\n"+on, "install", "mysql")
	service := s.run()
	service.tells(0, changed+link+closed+"\n"+on, "profile", "edit", "mysql")
	service.tells(0, changed+closed+"\n", "profile", "edit", "mysql")
	service.tells(0, changed+link+strings.Replace(closed, "3306/tcp", "22/tcp 3306/tcp", 1)+"\nknockd: mysql: 1 lease is over (not given for 22/tcp)\n", "profile", "edit", "mysql")
	s.must("grant", "mysql", "198.51.100.2")
	other := filepath.Join(t.TempDir(), "mysql.toml")
	s.write(other, mysql)
	service.tells(0, "knockd: profile mysql added\n"+link+closed+"; the host's other rules decide now about 22/tcp\n"+on, "profile", "add", "--force", other)
}

// TestOnlyWhatALinkHoldsMakesANewOneNecessary, where clients may have one.
func TestOnlyWhatALinkHoldsMakesANewOneNecessary(t *testing.T) {
	s := newSite(t)
	file := filepath.Join(t.TempDir(), "mysql.toml")
	for _, c := range []struct {
		name, text string
		want       bool
	}{
		{"new", mysql, false},
		{"the same", mysql, false},
		{"a host, which links had to name before", mysql + "host = \"db1.example.com\"\n", false},
		{"another host", mysql + "host = \"db2.example.com\"\n", true},
		{"who may knock", mysql + "host = \"db2.example.com\"\nfrom = [\"198.51.100.0/24\", \"2001:db8::/32\"]\n", false},
		{"another lease", mysql + "host = \"db2.example.com\"\nlease = \"2h\"\n", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.write(file, c.text)
			out := s.knockd("profile", "add", "--force", file)
			if got := strings.Contains(out.Stderr, "clients need a new link: knockd profile link mysql\n"); got != c.want || out.Code != 0 {
				t.Errorf("exit %d; it says\n%s", out.Code, out.Stderr)
			}
		})
	}
}
