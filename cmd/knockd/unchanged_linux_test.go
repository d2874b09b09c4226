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
		s.says(0, say("installed again: mysql, web"), "install")
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
