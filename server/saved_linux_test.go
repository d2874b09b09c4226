package server_test

import (
	"os/exec"
	"regexp"
	"strings"
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
