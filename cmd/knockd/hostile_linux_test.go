package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/urfave/cli/v2"

	"knockkit/internal/lab/labtest"
)

// hostile is what somebody may call a file, a section or a rule: colours of ours, the
// terminal's title, its screen, C1 control characters, text that runs backwards or is
// not seen, and a line that looks like one of ours.
const hostile = "a\x1b[31mb\x1b[0m\x1b]0;t\a\u009b2J\x7f\u202ec\u2066\u200b"

const forged = "\nknockd: all is well\n"

// tame fails if text could drive a terminal, or has a line that somebody else made up.
func tame(t *testing.T, what, text string) {
	t.Helper()
	for _, r := range text {
		if r != '\n' && r != '\t' && !unicode.IsPrint(r) {
			t.Errorf("%s: %U in\n%q", what, r, text)
			return
		}
	}
	if !utf8.ValidString(text) || strings.Contains("\n"+text, forged) {
		t.Errorf("%s: no text, or a line that looks like ours:\n%q", what, text)
	}
}

// TestNothingThatOthersWroteReachesTheTerminalAsItIs lets every command meet names,
// files, titles, comments and arguments that somebody hostile made up.
func TestNothingThatOthersWroteReachesTheTerminalAsItIs(t *testing.T) {
	eachBackend(t, func(t *testing.T, s *served) {
		s.must("install", "mysql")
		s.profile(hostile+forged, mysql)
		s.profile("$(touch x)", mysql)
		s.profile("broken", "description = \"\\u001b[31m\\u202e"+"\"\nhost = \"a\\u001b[2Jb\"\n# "+"\u202e\ninterface = \"\\u001beth0\"\nopened.nftables = [\"\\u001b[2J\"]\n\"\\u001b[2Jkey\" = 1\n")
		s.profile("odd", "\"\u202e"+"\u200b\" = \u2066\n")
		other := t.TempDir()
		s.write(filepath.Join(other, "knockd.toml"), "backend = \"\\u001b[2J\"\n\"\\u009b\" = 1 # \u202e\n")
		titles := filepath.Join(t.TempDir(), hostile+forged+".conf")
		s.write(titles, "[options]\n\tInterface = \u202eeth0\n\n["+hostile+"]\n\tsequence = 1,2,3\n\tcommand = /bin/"+hostile+" x\n["+hostile+"x]\n\tsequence = 7000,8000\n\tcommand = iptables -A INPUT -s %IP% -p tcp --dport 80 -j ACCEPT -m comment --comment "+hostile+"\n")
		if s.backend == "iptables" {
			labtest.MustRun(t, s.host, "", "iptables", "-I", "INPUT", "-m", "comment", "--comment", hostile+forged, "-j", "KNOCKD-TCP")
			labtest.MustRun(t, s.host, "", "iptables", "-A", "KNOCKD-GATE-mysql", "-m", "comment", "--comment", hostile+forged)
		} else {
			labtest.MustRun(t, s.host, "", "nft", "add rule inet knockd gate counter comment \""+hostile+"\"")
			labtest.MustRun(t, s.host, "", "nft", "add table inet x; add chain inet x in { type filter hook input priority 0; }; add rule inet x in tcp dport 3306 drop comment \""+hostile+"\"")
		}
		all := [][]string{
			{"profile", "list"}, {"profile", "list", "--json"}, {"profile", "check"}, {"profile", "check", "broken"}, {"profile", "check", titles + ".toml"},
			{"profile", "add", titles}, {"profile", "add", filepath.Join(s.config, "profiles", hostile+forged+".toml")},
			{"profile", "show", "brokn"}, {"profile", "show", hostile + forged}, {"profile", "remove", hostile},
			{"status"}, {"status", "--json"}, {"doctor"}, {"doctor", "--json"}, {"install"}, {"render"}, {"graph"}, {"render", "mysql"}, {"graph", "mysql"},
			{"import", titles}, {"import", "--dry-run", titles}, {"import", "--json", "--dry-run", titles}, {"import", "--dry-run", titles + "x"},
			{"status", "--config", other}, {"status", "--config", titles},
			{"grant", "mysql", hostile}, {"grant", "mysql", "10.9.0.1", "--for", hostile}, {"revoke", hostile, "10.9.0.1"},
			{"explain", "mysql", "--", hostile}, {"explain", "mysql", "--from", hostile, "--", "icmp"}, {"install", "mysql", "--try", hostile},
			{"render", "--backend", hostile}, {"render", "mysql", "--family", hostile}, {"graph", "--format", hostile}, {"graph", "mysql", "--family", hostile},
			{"completion", hostile}, {"__complete", "--", "profile", "show", ""}, {"__complete", "--", "grant", hostile}, {hostile}, {"--" + hostile}, {"profile", hostile},
		}
		var leaves func(path []string, commands []*cli.Command)
		leaves = func(path []string, commands []*cli.Command) {
			for _, c := range commands {
				here := append(path[:len(path):len(path)], c.Name)
				leaves(here, c.Subcommands)
				if len(c.Subcommands) == 0 && !c.Hidden {
					all = append(all, append(here[:len(here):len(here)], hostile+forged), append(here[:len(here):len(here)], "--x"+hostile+forged), append(here[:len(here):len(here)], "--help"))
				}
			}
		}
		leaves(nil, newApp().Commands)
		met := 0
		for _, args := range all {
			out := s.knockd(args...)
			what := strings.Join(args, " ")
			tame(t, what+": standard output", out.Stdout)
			tame(t, what+": standard error", out.Stderr)
			met += strings.Count(out.Stdout+out.Stderr, "�") + strings.Count(out.Stdout+out.Stderr, `\x1b`) + strings.Count(out.Stdout+out.Stderr, `\u001b`)
		}
		if met < 100 {
			t.Errorf("hostile text was met %d times", met)
		}
		out := s.must("__complete", "--", "--config", s.config, "profile", "show", "")
		if out.Stdout != "broken\nmysql\nodd\n" {
			t.Errorf("a shell is offered %q", out.Stdout)
		}
	})
}

// TestTheLogOfTheServiceIsTame: what is in a file's name is in its log.
func TestTheLogOfTheServiceIsTame(t *testing.T) {
	eachBackend(t, func(t *testing.T, s *served) {
		s.profile(hostile+forged, mysql)
		s.profile("odd", "\"\u202e"+"\u200b\" = \u2066\n")
		service := s.run("--verbose")
		service.logs(`\x1b`)
		tame(t, "the log", service.log.String())
	})
}

// TestAnImportedTextMakesNoLineOfTheProfile: comments, and values.
func TestAnImportedTextMakesNoLineOfTheProfile(t *testing.T) {
	s := newSite(t)
	file := filepath.Join(t.TempDir(), "a\nenabled = false\n#.conf")
	s.write(file, "[web \x1b\u202e\u2028 # \" x]\n\tsequence = 7000,8000,9000\n\tcommand = iptables -A INPUT -s %IP% -p tcp --dport 80 -j ACCEPT\n\ttcpflags = syn\n")
	s.must("import", file)
	made, err := os.ReadFile(filepath.Join(s.config, "profiles", "web-x.toml"))
	if err != nil {
		t.Fatal(err)
	}
	tame(t, "the profile", string(made))
	if strings.Contains(string(made), "\nenabled") {
		t.Errorf("a file's name became a line:\n%s", made)
	}
	if out := s.must("profile", "check", "web-x"); !strings.Contains(out.Stderr, "is fine") {
		t.Errorf("it says %s", out.Stderr)
	}
}
