package iptables

import (
	"fmt"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
	"knockkit/protocol"
)

// TestIptablesSavePrintsWhatWasRendered: drift is found by comparing the two, so
// they must be the same, line by line, and chain by chain.
func TestIptablesSavePrintsWhatWasRendered(t *testing.T) {
	labtest.Need(t, "iptables-nft-restore", "iptables-legacy-restore")
	for _, flavour := range lab.Flavours() {
		t.Run(flavour.Name, func(t *testing.T) {
			t.Setenv("PATH", labtest.PathOf(t, flavour)+":"+os.Getenv("PATH"))
			h := labtest.NewHost(t, "server")
			for _, f := range protocol.Families() {
				p := printer{host: h, was: &saved{ours: &ruleset{Family: f}}}
				for _, g := range goldens(t) {
					p.compare(t, g.name, g.render(t, f))
				}
				eachRandom(t, f, 60, func(seed uint64, in input) {
					p.compare(t, fmt.Sprintf("seed %d", seed), render(in))
				})
			}
		})
	}
}

// printer commits one ruleset in the place of another.
type printer struct {
	host *lab.Host
	was  *saved
}

func (p *printer) compare(t *testing.T, name string, want *ruleset) {
	t.Helper()
	tool := map[protocol.Family]string{protocol.IPv4: "iptables", protocol.IPv6: "ip6tables"}[want.Family]
	text := transaction(p.was, want)
	if out := labtest.Run(t, p.host, text, tool+"-restore", "--noflush", "--wait"); out.Code != 0 {
		t.Fatalf("%s, %s: %s\n%s", name, want.Family, out.Stderr, text)
	}
	is := parseSaved(t, want.Family, labtest.MustRun(t, p.host, "", tool+"-save"))
	if diff := cmp.Diff(chains(want), chains(is.ours)); diff != "" {
		t.Fatalf("%s, %s (-rendered +printed):\n%s", name, want.Family, diff)
	}
	early := want.chain("KNOCKD-PRE") != nil
	for i, wanted := range []bool{!want.empty(), early} {
		if c := is.calls[i]; (c.n == 1 && c.first == 1) != wanted || !wanted && c.n > 0 {
			t.Fatalf("%s, %s: %d jumps, the first at %d", name, tool, c.n, c.first)
		}
	}
	p.was = is
}
