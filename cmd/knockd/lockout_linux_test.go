package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
)

const (
	gate       = "sequence = [\"7421/tcp\", \"3190/udp\", \"9002/tcp\"]\nopen = [\"2222/tcp\"]\n"
	session4   = "198.51.100.7 51000 198.51.100.1 2222"
	session6   = "2001:db8::7 51000 2001:db8::1 2222"
	otherPort4 = "198.51.100.7 51000 198.51.100.1 22"
)

// installAs runs an install of the profile ssh in a session: its own variable, or
// that of the shell above it.
func (s *site) installAs(session string, inParent bool, args ...string) lab.Output {
	s.t.Helper()
	words := append([]string{program(s.t), "--config", s.config, "install"}, args...)
	script := `"$@"; exit $?` // the shell stays as the parent
	if inParent {
		script = `env -i PATH="$PATH" "$@"; exit $?`
	}
	cmd := exec.Command("sh", append([]string{"-c", script, "sh"}, words...)...)
	cmd.Env = append(os.Environ(), "SSH_CONNECTION="+session)
	var stderr strings.Builder
	cmd.Stdin, cmd.Stderr = strings.NewReader("no\n"), &stderr // of a trial
	_ = labtest.Start(s.t, s.host, cmd)()                      // the exit code says it
	return lab.Output{Stderr: stderr.String(), Code: cmd.ProcessState.ExitCode()}
}

func TestAnInstallThatWouldLockItsCallerOutIsRefused(t *testing.T) {
	const words = "knockd: error: profile ssh closes 2222/tcp, by which you are connected from 198.51.100.7\n" +
		"knockd: hint: add --try 30s to have the old rules back unless you confirm, or --allow-lockout if you are sure\n"
	labtest.NeedRoot(t)
	labtest.Need(t, "iptables-restore")
	for _, c := range []struct {
		name     string
		profile  string
		before   string // the profile as it is installed already; "" for not at all
		session  string
		inParent bool
		args     []string
		code     int
		says     string
	}{
		{"the session's port", gate, "", session4, false, []string{"ssh"}, 2, words},
		{"no name given", gate, "", session4, false, nil, 2, words},
		{"over IPv6", gate, "", session6, false, []string{"ssh"}, 2, strings.ReplaceAll(words, "198.51.100.7", "2001:db8::7")},
		{"the variable was cleared, as by sudo", gate, "", session4, true, []string{"ssh"}, 2, words},
		{"a gate that opens more than before", gate, strings.ReplaceAll(gate, "2222", "2223"), session4, false, []string{"ssh"}, 2, words},
		{"a gate that shuts more than before", gate, gate + "closed = \"continue\"\n", session4, false, []string{"ssh"}, 2, words},
		{"allowed", gate, "", session4, false, []string{"ssh", "--allow-lockout"}, 0, "knockd: installed: ssh (iptables)\n"},
		{"another port", gate, "", otherPort4, false, []string{"ssh"}, 0, "knockd: installed: ssh (iptables)\n"},
		{"another port, while one above has it", gate, "", otherPort4, true, []string{"ssh"}, 0, "knockd: installed: ssh (iptables)\n"},
		{"the other family", gate + "family = \"ipv6\"\n", "", session4, false, []string{"ssh"}, 0, "knockd: installed: ssh (iptables)\n"},
		{"the gate is there already", gate + "lease = \"2h\"\n", gate, session4, false, []string{"ssh"}, 0, "knockd: installed again: ssh (iptables)\n"},
		{"nothing would be changed", gate, "", session4, false, []string{"ssh", "--dry-run"}, 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t)
			if c.before != "" {
				s.profile("ssh", c.before)
				s.must("install", "ssh", "--allow-lockout")
			}
			before := s.both()
			s.profile("ssh", c.profile)
			out := s.installAs(c.session, c.inParent, c.args...)
			if out.Code != c.code || withoutTables(out.Stderr) != c.says {
				t.Errorf("exit %d, want %d; it says\n%swant\n%s", out.Code, c.code, out.Stderr, c.says)
			}
			if c.code != 0 && s.both() != before {
				t.Error("the rules changed all the same")
			}
		})
	}
}

// TestATrialMayLockItsCallerOut: that is what it is for.
func TestATrialMayLockItsCallerOut(t *testing.T) {
	labtest.NeedRoot(t)
	labtest.Need(t, "iptables-restore")
	s := newSite(t)
	s.profile("ssh", gate)
	for _, tool := range []string{"iptables", "ip6tables"} {
		labtest.MustRun(t, s.host, "", tool, "-P", "INPUT", "ACCEPT") // makes the empty table that iptables leaves behind
	}
	before := s.both()
	out := s.installAs(session4, false, "ssh", "--try", "30s")
	if out.Code != 1 || !strings.Contains(out.Stderr, "not confirmed: the old rules are back") {
		t.Errorf("exit %d: %s", out.Code, out.Stderr)
	}
	if s.both() != before {
		t.Error("the old rules are not back")
	}
}
