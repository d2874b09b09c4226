//go:build linux

package lab_test

import (
	"path/filepath"
	"strings"
	"testing"

	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
)

func TestEachFlavourOfIptablesIsItself(t *testing.T) {
	labtest.Need(t, "iptables")
	// What iptables --version says in brackets.
	says := map[string]string{"iptables-nft": "nf_tables", "iptables-legacy": "legacy"}
	for _, flavour := range lab.Flavours() {
		t.Run(flavour.Name, func(t *testing.T) {
			h := labtest.NewHost(t, "h")
			dir := labtest.PathOf(t, flavour)
			for _, command := range []string{"iptables", "ip6tables"} {
				tool := filepath.Join(dir, command)
				if got := labtest.MustRun(t, h, "", tool, "--version"); !strings.Contains(got, says[flavour.Name]) {
					t.Errorf("%s says it is %q", command, got)
				}
				const rule = "-A INPUT -s "
				source := map[string]string{"iptables": "10.9.0.1/32", "ip6tables": "2001:db8:9::1/128"}[command]
				labtest.MustRun(t, h, "*filter\n"+rule+source+" -j DROP\nCOMMIT\n", tool+"-restore", "--noflush", "--wait")
				if got := labtest.MustRun(t, h, "", tool+"-save"); !strings.Contains(got, rule+source+" -j DROP") {
					t.Errorf("%s-save does not show the rule:\n%s", command, got)
				}
			}
		})
	}
}
