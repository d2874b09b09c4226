package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"knockkit/internal/lab/labtest"
)

// TestEachCommandSaysWhatItDid walks a profile through its life: the words, the exit
// codes, and silence on standard output.
func TestEachCommandSaysWhatItDid(t *testing.T) {
	eachFlavour(t, func(t *testing.T, s *site) {
		s.profile("mysql", mysql)
		s.profile("web", web)
		s.says(0, "knockd: nothing was installed\n", "remove", "--all")
		s.says(2, "knockd: error: profile mysql: not installed\nknockd: hint: see: knockd status\n", "grant", "mysql", "10.9.0.1")
		s.says(0, "knockd: installed: mysql (iptables)\n", "install", "mysql")
		s.says(0, "knockd: installed: web (iptables)\nknockd: unchanged: mysql (iptables)\n", "install")
		s.says(2, "knockd: error: profile mail: not installed\nknockd: hint: see: knockd status\n", "remove", "mysql", "mail")

		s.says(0, "knockd: mysql is open for 10.9.0.1 for 1h\n", "grant", "mysql", "10.9.0.1")
		s.says(0, "knockd: mysql is open for 2001:db8:9::1 for 30m\n", "grant", "mysql", "2001:db8:9::1", "--for", "30m")
		s.says(0, "knockd: the lease of 10.9.0.1 for mysql is over\n", "revoke", "mysql", "10.9.0.1")
		s.says(0, "knockd: 10.9.0.1 held no lease of mysql; connections ended: 0\n", "revoke", "mysql", "10.9.0.1", "--cut")

		s.must("profile", "remove", "web")
		if out := s.must("status"); !strings.Contains(narrow(out.Stdout), "web no file iptables 80/tcp 1h 0 open, 0 knocking\n") {
			t.Errorf("a profile without a file:\n%s", out.Stdout)
		}
		s.says(0, "knockd: unchanged: mysql (iptables)\nknockd: removed: web (iptables)\n", "install")
		s.says(0, "knockd: removed: mysql (iptables)\n", "remove", "mysql")
	})
}

// narrow takes the width of its columns out of a table.
func narrow(table string) string {
	return regexp.MustCompile(` +`).ReplaceAllString(table, " ")
}

// TestStatusAsATableAndAsJSON shows every state once.
func TestStatusAsATableAndAsJSON(t *testing.T) {
	eachFlavour(t, func(t *testing.T, s *site) {
		s.settings("backend = \"iptables\"\nban = { after = 3, for = \"10m\" }\n")
		s.profile("mysql", mysql)
		s.profile("web", web+"lease = \"0\"\n")
		s.must("install")
		s.profile("off", "enabled = false\n"+strings.ReplaceAll(web, "7422", "7499"))
		s.profile("new", strings.ReplaceAll(web, "7422", "7498"))
		s.profile("mysql", mysql+"lease = \"2h\"\n")
		s.must("grant", "web", "10.9.0.1")
		s.note("mysql.2.KNOCKD4", "10.9.0.2")
		s.note("banned.KNOCKD6", "2001:db8:9::3")

		const beside = "changed: profile mysql was edited since it was installed: knockd install mysql\n" +
			"not in force: profile new is enabled and not installed: knockd install new\n"
		if out := s.must("status", "--json"); out.Stderr != beside {
			t.Fatal(out.Stderr)
		}
		got := s.form().Sources
		left := map[string]*float64{}
		for i := range got {
			left[got[i].State], got[i].ExpiresIn = got[i].ExpiresIn, nil
		}
		want := []sourceForm{{"web", "10.9.0.1", "open", 3, 3, nil, ""}, {"mysql", "10.9.0.2", "knocking", 2, 3, nil, ""}, {"", "2001:db8:9::3", "banned", 0, 0, nil, ""}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		// A lease of 0 has no end; a position lasts 10 s, a ban 10 min, from just now.
		if left["open"] != nil || left["knocking"] == nil || *left["knocking"] < 5 || *left["knocking"] > 10 ||
			left["banned"] == nil || *left["banned"] < 595 || *left["banned"] > 600 {
			t.Errorf("the times left: %v", left)
		}

		table := narrow(s.must("status").Stdout)
		for _, want := range []string{
			"PROFILE STATE BACKEND OPENS LEASE NOW\n",
			"mysql changed iptables 3306/tcp 1h 0 open, 1 knocking\n",
			"new not installed 80/tcp 1h 0 open, 0 knocking\n",
			"off disabled 80/tcp 1h 0 open, 0 knocking\n",
			"web installed iptables 80/tcp no end 1 open, 0 knocking\n",
			"10.9.0.1 web open ●●● no end\n", "10.9.0.2 mysql knocking ●●○ ", "2001:db8:9::3 banned 9m ",
		} {
			if !strings.Contains(table, want) {
				t.Errorf("no %q in\n%s", want, table)
			}
		}
		if only := s.must("status", "web").Stdout; strings.Contains(only, "mysql") || !strings.Contains(only, "web") {
			t.Errorf("of web alone:\n%s", only)
		}
		if out := s.knockd("status", "nobody"); out.Code != 2 || !strings.Contains(out.Stderr, `no profile "nobody", neither installed nor in `) {
			t.Errorf("exit %d, %s", out.Code, out.Stderr)
		}
	})
}

func TestStatusCheckExitsWith1WhenTheRulesHaveDrifted(t *testing.T) {
	eachFlavour(t, func(t *testing.T, s *site) {
		s.profile("mysql", mysql)
		s.must("install")
		s.must("status", "--check")
		labtest.MustRun(t, s.host, "", "iptables", "-A", "KNOCKD-TCP", "-j", "ACCEPT")
		labtest.MustRun(t, s.host, "", "iptables", "-A", "FORWARD", "-j", "KNOCKD-ENTER-mysql.2")
		// The lines are part of the answer; beside JSON they are words.
		const drift = "drift: ipv4: KNOCKD-TCP has a rule more: \"-j ACCEPT\"\n"
		const foreign = "not in force: a rule that is not ours leads into our chains: ipv4: -A FORWARD -j KNOCKD-ENTER-mysql.2: delete it\n" +
			"not in force: the rules are not those that were committed: knockd install (every enabled profile); then find the tool, and let it start before knockd\n"
		for _, c := range []struct {
			args   []string
			code   int
			inData bool
		}{{[]string{"status"}, 0, true}, {[]string{"status", "--check"}, 1, true}, {[]string{"status", "--check", "--json"}, 1, false}} {
			words := drift + foreign
			if c.inData {
				words = ""
			}
			if out := s.knockd(c.args...); out.Code != c.code || out.Stderr != words || strings.HasSuffix(out.Stdout, drift+foreign) != c.inData {
				t.Errorf("%v: exit %d, not %d; %s%s", c.args, out.Code, c.code, out.Stdout, out.Stderr)
			}
		}
		out := s.knockd("remove", "--all")
		if out.Code != 1 || !strings.Contains(out.Stderr, `delete the rule first: "-A FORWARD -j KNOCKD-ENTER-mysql.2"`) {
			t.Errorf("remove: exit %d, %s", out.Code, out.Stderr)
		}
		labtest.MustRun(t, s.host, "", "iptables", "-D", "FORWARD", "-j", "KNOCKD-ENTER-mysql.2")
		s.must("install")
	})
}

// TestADryRunIsWhatIsThenCommitted: the text that is printed, fed to the tools by
// hand, is all that install does.
func TestADryRunIsWhatIsThenCommitted(t *testing.T) {
	eachFlavour(t, func(t *testing.T, s *site) {
		s.profile("mysql", mysql)
		before := s.both()
		dry := s.must("install", "--dry-run")
		rendered := s.must("render", "mysql")
		if dry.Stderr != "" || dry.Stdout != rendered.Stdout {
			t.Errorf("a dry run and render differ:\n%s%s\n%s", dry.Stderr, dry.Stdout, rendered.Stdout)
		}
		if s.both() != before {
			t.Fatal("the dry run changed the rules")
		}
		for _, text := range strings.Split(dry.Stdout, "# ")[1:] {
			command, rules, _ := strings.Cut(text, "\n")
			words := strings.Fields(command)
			labtest.MustRun(t, s.host, rules, words[0], words[1:]...)
		}
		byHand := s.both()
		s.must("status", "--check")
		s.must("install")
		if s.both() != byHand {
			t.Error("install made something else of it")
		}
	})
}

// TestWithoutThePrivilegeTheExitCodeIs4 runs the program as nobody.
func TestWithoutThePrivilegeTheExitCodeIs4(t *testing.T) {
	labtest.Need(t, "setpriv")
	eachFlavour(t, func(t *testing.T, s *site) {
		s.profile("mysql", mysql)
		s.must("install")
		for dir := s.config; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
			if err := os.Chmod(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		for _, c := range []struct {
			args []string
			code int
		}{
			{[]string{"install"}, 4}, {[]string{"remove", "--all"}, 4}, {[]string{"status"}, 4}, {[]string{"status", "--check"}, 4},
			{[]string{"grant", "mysql", "10.9.0.1"}, 4}, {[]string{"revoke", "mysql", "10.9.0.1"}, 4}, {[]string{"unban", "10.9.0.1"}, 4},
			{[]string{"profile", "new", "ssh"}, 4},
			{[]string{"render", "mysql"}, 0}, {[]string{"profile", "check"}, 0}, {[]string{"explain", "mysql", "--", "icmp"}, 0},
		} {
			t.Run(strings.Join(c.args, " "), func(t *testing.T) {
				words := append([]string{"--reuid=65534", "--regid=65534", "--clear-groups", program(t), "--config", s.config}, c.args...)
				out := labtest.Run(t, s.host, "", "setpriv", words...)
				if out.Code != c.code {
					t.Errorf("exit %d, not %d: %s", out.Code, c.code, out.Stderr)
				}
				if c.code == 4 && (out.Stdout != "" || !strings.Contains(out.Stderr, "knockd: hint: run it as root")) {
					t.Errorf("standard output %q; it says %s", out.Stdout, out.Stderr)
				}
			})
		}
	})
}
