package main

import (
	"strings"
	"testing"

	"knockkit/internal/lab/labtest"
)

func TestAnInstallSaysThatAContainerPublishesThePort(t *testing.T) {
	eachFlavour(t, func(t *testing.T, s *site) {
		labtest.MustRun(t, s.host, "", "iptables", "-t", "nat", "-A", "PREROUTING", "-m", "addrtype", "--dst-type", "LOCAL",
			"-p", "tcp", "-m", "tcp", "--dport", "3306", "-j", "DNAT", "--to-destination", "10.9.0.2:3306")
		s.profile("mysql", mysql)
		out := s.must("install", "mysql")
		for _, want := range []string{"knockd: installed: mysql (iptables)\n", "knockd: warning: 3306/tcp of profile mysql goes elsewhere before the gate",
			`set place = "prerouting" in the profile`} {
			if !strings.Contains(out.Stderr, want) {
				t.Errorf("it does not say %q:\n%s", want, out.Stderr)
			}
		}
		s.profile("mysql", mysql+"place = \"prerouting\"\n")
		s.says(0, "knockd: installed again: mysql (iptables)\n", "install", "mysql")
		s.says(0, "knockd: removed: mysql (iptables)\n", "remove", "mysql")
		if rules := s.rules("iptables"); strings.Contains(rules, "KNOCKD") {
			t.Errorf("after the removal:\n%s", rules)
		}
	})
}
