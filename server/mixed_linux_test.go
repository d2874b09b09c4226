package server_test

import (
	"os"
	"strings"
	"testing"

	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
	"knockkit/protocol"
	"knockkit/server"
)

// TestTwoFlavoursOfIptablesAreNotMixed: they share the recency tables by name, so
// each would work with half of the truth.
func TestTwoFlavoursOfIptablesAreNotMixed(t *testing.T) {
	labtest.NeedTUN(t)
	labtest.NeedRoot(t)
	labtest.Need(t, "iptables-nft-restore", "iptables-legacy-restore")
	flavours := lab.Flavours()
	system := os.Getenv("PATH")
	for i, first := range flavours {
		second := flavours[1-i]
		t.Run(first.Name+", and then "+second.Name, func(t *testing.T) {
			use := func(f lab.Flavour) { t.Setenv("PATH", labtest.PathOf(t, f)+":"+system) }
			use(first)
			s := newSite(t, "iptables", strict())
			s.install(article(t, ""))
			before := s.saved()
			use(second)
			beside := s.saved()
			err := s.host.Do(func() error {
				_, err := s.srv.Install(t.Context(), []*protocol.Profile{article(t, "")}, server.InstallOptions{})
				return err
			})
			if err == nil || !strings.Contains(err.Error(), first.Name+" holds rules of knockd already") ||
				!strings.Contains(err.Error(), "remove them with the other one first ("+first.Name+"-restore; ") {
				t.Errorf("got %v", err)
			}
			if after := s.saved(); after != beside {
				t.Errorf("%s: before:\n%s\nafter:\n%s", second.Name, beside, after)
			}
			use(first)
			if after := s.saved(); after != before {
				t.Errorf("%s: before:\n%s\nafter:\n%s", first.Name, before, after)
			}
			s.do(func() error { _, err := s.srv.Remove(t.Context(), nil); return err })
			use(second)
			s.install(article(t, ""))
		})
	}
}
