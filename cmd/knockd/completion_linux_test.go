package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"knockkit/internal/completion"
	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
)

// completionFolder is a configuration with two profiles, "mysql" and "ssh".
func completionFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "profiles"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"mysql": "description = \"MySQL: the shop\"\n" + articleProfile,
		"ssh":   "sequence = [\"1001/tcp\", \"1002/tcp\"]\nopen = [\"22/tcp\"]\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, "profiles", name+".toml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestWhatCanFollow(t *testing.T) {
	t.Setenv("KNOCKD_CONFIG", completionFolder(t))
	for _, c := range []struct {
		name string
		line string // what was typed; the last word is being typed
		want []string
	}{
		{"commands", "gra", []string{"grant", "graph"}},
		{"commands of a group", "profile re", []string{"remove"}},
		{"no profile where a command has to be", "my", nil},
		{"profiles", "install ", []string{"mysql", "ssh"}},
		{"more profiles", "install ssh ", []string{"mysql"}},
		{"one profile", "grant m", []string{"mysql"}},
		{"an address is not known", "grant mysql ", nil},
		{"one profile, of which all leases end", "revoke --all m", []string{"mysql"}},
		{"flags of revoke", "revoke mysql --a", []string{"--all"}},
		{"whom to unban is not known", "unban ", nil},
		{"flags of unban", "unban --a", []string{"--all"}},
		{"a profile of a group's command", "profile show s", []string{"ssh"}},
		{"a new name is not known", "profile new ", nil},
		{"files", "profile add ./x", []string{":files"}},
		{"knocks are not known", "explain mysql -- ", nil},
		{"flags", "install --dr", []string{"--dry-run"}},
		{"flags of the program after a command", "profile list --", []string{"--config", "--help", "--json"}},
		{"a flag of the program in front", "--config /nowhere install ", nil},
		{"backends", "render --backend ", []string{"iptables", "nftables"}},
		{"backends of demo", "demo --backend a", []string{"auto"}},
		{"families", "graph --family=", []string{"--family=ipv4", "--family=ipv6"}},
		{"formats", "graph --format ", []string{"mermaid", "dot"}},
		{"a file to import", "import ", []string{":files"}},
		{"shells", "completion z", []string{"zsh"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, candidate := range completion.Candidates(t.Context(), newApp(), strings.Split(c.line, " "), arguments) {
				word, _, _ := strings.Cut(candidate, "\t")
				got = append(got, word)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestUsersAndSignedProfilesCompleteFromTheFolder(t *testing.T) {
	dir := completionFolder(t)
	t.Setenv("KNOCKD_CONFIG", dir)
	for name, text := range map[string]string{"admin": "description = \"servers\"\n", "web": ""} {
		if err := os.WriteFile(filepath.Join(dir, "profiles", name+".toml"), []byte(text+"signed = { carrier = \"icmp\" }\nopen = [\"2222/tcp\"]\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"admin/alice.key", "admin/alice.0011aabb.key", "web/alice.key", "web/bob.key"} {
		file = filepath.Join(dir, "keys", file)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name string
		at   completion.Cursor
		want []string
	}{
		{"users", completion.Cursor{Command: []string{"key", "add"}}, []string{"alice", "bob"}},
		{"profiles for a new key", completion.Cursor{Command: []string{"key", "add"}, Args: []string{"bob"}}, []string{"admin\tservers", "web"}},
		{"profiles for a new user", completion.Cursor{Command: []string{"key", "add"}, Args: []string{"carol"}}, []string{"admin\tservers", "web"}},
		{"profiles that the user has", completion.Cursor{Command: []string{"key", "remove"}, Args: []string{"bob"}}, []string{"web"}},
		{"whose link", completion.Cursor{Command: []string{"key", "link"}, Args: []string{"bob"}}, []string{"web"}},
		{"nothing more", completion.Cursor{Command: []string{"key", "disable"}, Args: []string{"bob", "web"}}, nil},
		{"profiles with keys", completion.Cursor{Command: []string{"key", "list"}, Args: []string{"web"}}, []string{"admin\tservers"}},
		{"whose lease ends", completion.Cursor{Command: []string{"revoke"}, Args: []string{"admin"}, Flag: "user"}, []string{"alice"}},
		{"whose, before the profile is named", completion.Cursor{Command: []string{"revoke"}, Flag: "user"}, []string{"alice", "bob"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, arguments(t.Context(), c.at)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestShellsComplete has each shell run its script with the real program. How the
// scripts treat their answers is tried with knock.
func TestShellsComplete(t *testing.T) {
	for shell, args := range map[string][]string{
		"bash": {"--norc", "-c", `eval "$(knockd completion bash)"; COMP_LINE=$0 COMP_POINT=${#0}; _knockd; complete -p knockd > /dev/null; printf '%s\n' "${COMPREPLY[@]}"`, "knockd grant "},
		"fish": {"--no-config", "-c", `knockd completion fish | source; complete -C "knockd grant " | string replace -r "\t.*" ""`},
		"zsh": {"-f", "-c", `compdef() { [[ $1 == _knockd && $2 == knockd ]] || exit 1 }; _describe() { print -l -- "${(@)${(@P)2}%%:*}" }
eval "$(knockd completion zsh)"; words=(knockd grant ''); CURRENT=3; _knockd`},
	} {
		t.Run(shell, func(t *testing.T) {
			labtest.Need(t, shell)
			cmd := exec.Command(shell, args...)
			cmd.Dir = t.TempDir()
			cmd.Env = []string{"PATH=" + filepath.Dir(program(t)) + ":" + os.Getenv("PATH"), "HOME=" + cmd.Dir, "KNOCKD_CONFIG=" + completionFolder(t)}
			out, err := cmd.CombinedOutput()
			if err != nil || string(out) != "mysql\nssh\n" {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// TestAddressesOfTheKernelAreCompleted: holders of the profile's leases for revoke, and who
// is banned for unban.
func TestAddressesOfTheKernelAreCompleted(t *testing.T) {
	eachBackend(t, func(t *testing.T, s *served) {
		s.banning()
		s.falls(lab.ForgedAddr4(3))
		s.falls(lab.ForgedAddr4(3))
		for _, who := range []string{"10.9.0.1", "10.9.16.0/20", "2001:db8:9::1"} {
			s.must("grant", "mysql", who)
		}
		for line, want := range map[string]string{
			"revoke mysql ":   "10.9.0.1\n10.9.16.0/20\n2001:db8:9::1\n",
			"revoke mysql 10": "10.9.0.1\n10.9.16.0/20\n",
			"revoke other ":   "",
			"unban ":          "10.9.0.3\n",
			"grant mysql ":    "",
		} {
			if got := s.must(append([]string{"__complete", "--"}, strings.Split(line, " ")...)...); got.Stdout != want {
				t.Errorf("%q: got %q, want %q", line, got.Stdout, want)
			}
		}
	})
}
