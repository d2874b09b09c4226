package main

import (
	"os"
	"strings"
	"testing"
)

// TestAnInstallSaysWhichProfilesItDidNotChange, and commits nothing where none has changed.
func TestAnInstallSaysWhichProfilesItDidNotChange(t *testing.T) {
	eachBackendAtOnce(t, func(t *testing.T, s *served) {
		say := func(lines ...string) (words string) {
			for _, l := range lines {
				words += "knockd: " + l + " (" + s.backend + ")\n"
			}
			return words
		}
		s.profile("mysql", mysql)
		s.profile("web", web)
		s.says(0, say("installed: mysql, web"), "install")
		committed := s.slow(t, "0")
		s.says(0, say("unchanged: mysql, web"), "install")
		s.says(0, say("unchanged: web"), "install", "web")
		s.says(0, say("unchanged: web"), "install", "web", "--allow-lockout")
		out := s.site.try("no\n", program(t), "--config", s.config, "install", "web", "--try", "30s") // no question, and no answer read
		if out.Code != 0 || withoutTables(out.Stderr) != say("unchanged: web") {
			t.Errorf("exit %d: %s", out.Code, out.Stderr)
		}
		if is(committed) {
			t.Error("something was committed")
		}

		s.profile("web", web+"lease = \"2h\"\n")
		s.says(0, say("installed again: web", "unchanged: mysql"), "install")
		if !is(committed) {
			t.Error("nothing was committed: the test proves nothing")
		}
		s.settings("backend = \"" + s.backend + "\"\nstrict = false\n")
		s.says(0, say("installed again: mysql, web")+"knockd: strict of knockd.toml changed: that is for every profile\n", "install")
		if err := os.Remove(committed); err != nil {
			t.Fatal(err)
		}
		s.says(0, say("unchanged: mysql, web"), "install")

		if s.backend == "iptables" {
			s.tool("", "iptables", "-F", "KNOCKD-GATE-mysql")
		} else {
			s.tool("", "nft", "flush", "chain", "inet", "knockd", "gate-tcp-3306")
		}
		if out := s.knockd("install", "mysql"); out.Code != 0 || !strings.Contains(out.Stderr, say("installed again: mysql")) || !is(committed) {
			t.Errorf("after another tool's change: exit %d: %s", out.Code, out.Stderr)
		}
		s.must("status", "--check")
	})
}

// TestAnInstallByNameSaysThatASettingChangedTheOthersToo: settings are those of the whole machine.
func TestAnInstallByNameSaysThatASettingChangedTheOthersToo(t *testing.T) {
	s := newServedOn(t, "nftables")
	s.profile("mysql", mysql)
	s.profile("web", web)
	s.must("install")
	w := s.watch("--json")
	s.settings("backend = \"nftables\"\nstrict = false\nban = { after = 3, for = \"10m\" }\n")
	s.says(0, "knockd: installed again: mysql, web (nftables)\nknockd: strict and ban of knockd.toml changed: that is for every profile\n", "install", "web")
	for _, name := range []string{"mysql", "web"} {
		w.shows(`"event":"install","profile":"`+name+`"`, soon)
	}
	w.shows(`"detail":"installed again: strict and ban of knockd.toml changed"`, soon)
	s.says(0, "knockd: unchanged: mysql (nftables)\n", "install", "mysql")

	s.settings("backend = \"iptables\"\n")
	s.says(0, "knockd: moved here from backend nftables, with its leases\nknockd: installed again: mysql, web (iptables)\nknockd: strict and ban of knockd.toml changed: that is for every profile\n", "install", "web")
}

// TestATrialOfASettingAndItsUndoAreToldOfEveryProfile.
func TestATrialOfASettingAndItsUndoAreToldOfEveryProfile(t *testing.T) {
	s := newServedOn(t, "nftables")
	s.profile("mysql", mysql)
	s.profile("web", web)
	s.must("install")
	w := s.watch("--json")
	s.settings("backend = \"nftables\"\nstrict = false\n")
	if out := s.site.try("no\n", program(t), "--config", s.config, "install", "web", "--try", "5m"); out.Code != 1 {
		t.Errorf("exit %d: %s", out.Code, out.Stderr)
	}
	for _, detail := range []string{"installed again for a trial of 5m: strict of knockd.toml changed", "installed again: the trial is undone"} {
		s.eventually(detail, soon, func() bool { return strings.Count(w.out.String(), `"detail":"`+detail+`"`) == 2 })
	}
}
