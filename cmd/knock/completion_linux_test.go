package main

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"knockkit/internal/lab/labtest"
)

// completed runs a shell's script with the real program and returns the words
// that it offers.
func completed(t *testing.T, shell string, args ...string) []string {
	t.Helper()
	labtest.Need(t, shell)
	l := newLaptop(t, nil, map[string]string{
		"mysql": "description = \"MySQL: the shop\"\nhost = [\"db1.example.com\", \"db2.example.com\"]\n" + mysqlProfile,
		"ssh":   sshProfile,
	})
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
		"knock s":               {"show", "ssh"},
		"knock show my":         {"mysql"},
		"knock mysql@":          {"db1.example.com", "db2.example.com"}, // bash replaces what follows the "@"
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
		"knock s":            {"show", "ssh"},
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
		"knock s":            {"show:show a profile, with its sequence", "ssh:ssh"},
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
