package main

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/google/go-cmp/cmp"

	"knockkit/internal/lab/labtest"
)

// twoProfiles is a laptop that knows "mysql", on two hosts, and "ssh".
func twoProfiles(t *testing.T) *laptop {
	t.Helper()
	return newLaptop(t, nil, map[string]string{
		"mysql": "description = \"MySQL: the shop\"\nhost = [\"db1.example.com\", \"db2.example.com\"]\n" + mysqlProfile,
		"ssh":   sshProfile,
	})
}

// completed runs a shell's script with the real program and returns the words
// that it offers.
func completed(t *testing.T, shell string, args ...string) []string {
	t.Helper()
	labtest.Need(t, shell)
	l := twoProfiles(t)
	cmd := exec.Command(shell, args...)
	cmd.Env, cmd.Dir = l.env(), t.TempDir()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", shell, err, out)
	}
	var words []string
	for line := range strings.Lines(string(out)) {
		word, _, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		words = append(words, word)
	}
	return words
}

func TestBashCompletes(t *testing.T) {
	for line, want := range map[string][]string{
		"knock s":               {"status", "show", "ssh"},
		"knock show my":         {"mysql"},
		"knock mysql@":          {"@db1.example.com", "@db2.example.com"}, // bash replaces the "@" too
		"knock forward --po":    {"--port"},
		"knock ssh --hosts-fi":  {"--hosts-file"},
		"knock completion bash": {"bash"},
	} {
		t.Run(line, func(t *testing.T) {
			script := `eval "$(knock completion bash)"; COMP_LINE=$1 COMP_POINT=${#1}; _knock; printf '%s\n' "${COMPREPLY[@]}"`
			if diff := cmp.Diff(want, completed(t, "bash", "--norc", "-c", script, "bash", line)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFishCompletes(t *testing.T) {
	for line, want := range map[string][]string{
		"knock s":            {"show", "ssh", "status"},
		"knock show my":      {"mysql"},
		"knock mysql@":       {"mysql@db1.example.com", "mysql@db2.example.com"},
		"knock forward --po": {"--port"},
	} {
		t.Run(line, func(t *testing.T) {
			got := completed(t, "fish", "--no-config", "-c", "knock completion fish | source; complete -C "+"'"+line+"'")
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestZshCompletes calls the function as zsh's completion would, with its
// helpers replaced by ones that write down what they are given.
func TestZshCompletes(t *testing.T) {
	for line, want := range map[string][]string{
		"knock s":            {"status:list what this machine believes to be open, and for how long", "show:show a profile, with its sequence", "ssh:ssh"},
		"knock mysql@db2":    {"mysql@db2.example.com:mysql@db2.example.com"},
		"knock forward --po": {"--port:connect to PORT of the host"},
		"knock --config /e":  {"files"},
	} {
		t.Run(line, func(t *testing.T) {
			script := `compdef() { [[ $1 == _knock ]] }; _files() { print files }; _describe() { print -l -- "${(@P)2}" }
eval "$(knock completion zsh)"; words=(${(z)1}); CURRENT=$#words; _knock`
			if diff := cmp.Diff(want, completed(t, "zsh", "-f", "-c", script, "zsh", line)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestTheTabKeyKeepsWhatWasTyped types into real shells: each replaces another part of the
// word, and bash another one with bash-completion, which takes "@" out of COMP_WORDBREAKS.
func TestTheTabKeyKeepsWhatWasTyped(t *testing.T) {
	const bashCompletion = "/usr/share/bash-completion/bash_completion"
	for _, shell := range []struct {
		name  string
		call  []string
		setup string // ends with a prompt "> "
	}{
		{"bash", []string{"bash", "--norc", "-i"}, `eval "$(knock completion bash)"; PS1='> '`},
		{"bash with bash-completion", []string{"bash", "--norc", "-i"}, `. ` + bashCompletion + `; eval "$(knock completion bash)"; PS1='> '`},
		{"zsh", []string{"zsh", "-f", "-i"}, `autoload -Uz compinit; compinit -u; eval "$(knock completion zsh)"; PS1='> '`},
		{"fish", []string{"fish", "--no-config", "-i"}, `function fish_prompt; echo -n '> '; end; knock completion fish | source`},
	} {
		t.Run(shell.name, func(t *testing.T) {
			labtest.Need(t, shell.call[0])
			if _, err := os.Stat(bashCompletion); err != nil && strings.Contains(shell.setup, bashCompletion) {
				labtest.Need(t, bashCompletion)
			}
			for typed, want := range map[string]string{
				"knock mysql@\t":         "knock mysql@db",
				"knock mysql@db2\t":      "knock mysql@db2.example.com",
				"knock mysql@db1\t":      "knock mysql@db1.example.com",
				"knock ssh --host db1\t": "knock ssh --host db1.example.com",
				"knock ssh --host=db1\t": "knock ssh --host=db1.example.com",
			} {
				s := startShell(t, shell.call...)
				s.enter(t, shell.setup+"; echo set''up\n", `(?s)setup\r.*> `)
				s.enter(t, typed+"\x01echo '<' \x05 '>'\n", `< `+regexp.QuoteMeta(want)+` +>`) // to the line's start, to its end
			}
		})
	}
}

// shell is a shell on a terminal.
type shell struct {
	terminal *os.File
	said     []byte
}

func startShell(t *testing.T, call ...string) *shell {
	t.Helper()
	cmd := exec.Command(call[0], call[1:]...)
	cmd.Env, cmd.Dir = append(twoProfiles(t).env(), "TERM=xterm"), t.TempDir()
	terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 200})
	if err != nil {
		t.Fatal(err)
	}
	limit := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() }) // reading ends then
	t.Cleanup(func() {
		limit.Stop()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = terminal.Close()
	})
	return &shell{terminal: terminal}
}

// enter types text, and waits until the shell has said what the pattern matches.
func (s *shell) enter(t *testing.T, text, pattern string) {
	t.Helper()
	if _, err := s.terminal.WriteString(text); err != nil {
		t.Fatal(err)
	}
	want, buffer := regexp.MustCompile(pattern), make([]byte, 4096)
	for !want.Match(s.said) {
		n, err := s.terminal.Read(buffer)
		if err != nil {
			t.Fatalf("%q did not lead to %q: %v; the shell said %q", text, pattern, err, s.said)
		}
		s.said = append(s.said, buffer[:n]...)
	}
}
