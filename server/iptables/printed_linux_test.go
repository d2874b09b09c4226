package iptables_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
	"knockkit/protocol"
	"knockkit/server/iptables"
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
				p := printer{host: h, was: &iptables.Saved{Ours: &iptables.Ruleset{Family: f}}}
				for _, g := range goldens(t) {
					p.compare(t, g.name, g.render(t, f))
				}
				eachRandom(t, f, 60, func(seed uint64, in iptables.Input) {
					p.compare(t, fmt.Sprintf("seed %d", seed), iptables.Render(in))
				})
			}
		})
	}
}

// printer commits one ruleset in the place of another.
type printer struct {
	host *lab.Host
	was  *iptables.Saved
}

func (p *printer) compare(t *testing.T, name string, want *iptables.Ruleset) {
	t.Helper()
	tool := map[protocol.Family]string{protocol.IPv4: "iptables", protocol.IPv6: "ip6tables"}[want.Family]
	text := iptables.Transaction(p.was, want)
	if out := labtest.Run(t, p.host, text, tool+"-restore", "--noflush", "--wait"); out.Code != 0 {
		t.Fatalf("%s, %s: %s\n%s", name, want.Family, out.Stderr, text)
	}
	saved, err := iptables.ParseSave(want.Family, labtest.MustRun(t, p.host, "", tool+"-save"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(chains(want), chains(saved.Ours)); diff != "" {
		t.Fatalf("%s, %s (-rendered +printed):\n%s", name, want.Family, diff)
	}
	early := want.Chain("KNOCKD-PRE") != nil
	for _, calls := range []struct {
		is     iptables.Calls
		wanted bool
	}{{saved.Input, !want.Empty()}, {saved.Prerouting, early}} {
		if once := calls.is.N == 1 && calls.is.First == 1; once != calls.wanted || !calls.wanted && calls.is.N > 0 {
			t.Fatalf("%s, %s: %d jumps, the first at %d", name, tool, calls.is.N, calls.is.First)
		}
	}
	p.was = saved
}
