package main

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"knockkit/internal/lab/labtest"
)

// TestAFullSetOfNftablesTakesNobodyNewAndThatIsSaid: what is true of xt_recent is not of it.
func TestAFullSetOfNftablesTakesNobodyNewAndThatIsSaid(t *testing.T) {
	labtest.NeedRoot(t)
	labtest.Need(t, "nft")
	s := newSite(t)
	s.settings("backend = \"nftables\"\n")
	s.profile("mysql", mysql)
	s.must("install")
	for _, set := range []struct {
		name, first string
		grant       []string
	}{
		{"open4-mysql", "10.9.0.1", []string{"grant", "mysql"}},
		{"open6-mysql", "2001:db8:9::1", []string{"grant", "mysql", "--for", "5m"}},
	} {
		var text strings.Builder
		addr := netip.MustParseAddr(set.first)
		for range 65_535 {
			fmt.Fprintf(&text, "add element inet knockd %s { %s timeout 1h }\n", set.name, addr)
			addr = addr.Next()
		}
		labtest.MustRun(t, s.host, text.String(), "nft", "-f", "-")
		said := s.must("status").Stderr
		if !strings.Contains(said, set.name+" (65535 of 65535)") || !strings.Contains(said, "a full set takes no new address until the time of another is over") || strings.Contains(said, "xt_recent") {
			t.Errorf("status says\n%s", said)
		}
		if out := s.knockd(append(set.grant, addr.String())...); out.Code != 1 || !strings.Contains(out.Stderr, "the set is full") || strings.Contains(out.Stderr, "is open") {
			t.Errorf("%v: exit %d, it says\n%s", set.grant, out.Code, out.Stderr)
		}
		labtest.MustRun(t, s.host, "", "nft", "flush", "set", "inet", "knockd", set.name)
	}
}
