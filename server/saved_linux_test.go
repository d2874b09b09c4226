package server_test

import (
	"os/exec"
	"regexp"
	"strings"

	"knockkit/protocol"
	"knockkit/server"
)

// counters are what iptables-save prints of traffic and of the time of day.
var counters = regexp.MustCompile(`(?m)^#.*\n|\[\d+:\d+\]`)

// saved returns the rules of the whole host, without counters. An empty filter
// table that only iptables-nft's own use leaves behind is left out.
func (s *site) saved() string {
	s.t.Helper()
	var b strings.Builder
	for _, tool := range []string{"iptables-save", "ip6tables-save"} {
		b.WriteString(tool + "\n" + counters.ReplaceAllString(s.run(tool), ""))
	}
	if _, err := exec.LookPath("nft"); err == nil {
		b.WriteString(regexp.MustCompile(`packets \d+ bytes \d+|# handle \d+`).ReplaceAllString(s.run("nft", "list", "ruleset"), ""))
	}
	return b.String()
}

// refuse installs profiles, returns the error, and fails unless every rule of the host
// is as it was.
func (s *site) refuse(profiles ...*protocol.Profile) error {
	s.t.Helper()
	before := s.saved()
	err := s.host.Do(func() error {
		_, err := s.srv.Install(s.t.Context(), profiles, server.InstallOptions{})
		return err
	})
	if err == nil {
		s.t.Error("it was installed")
	}
	if after := s.saved(); after != before {
		s.t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	return err
}
