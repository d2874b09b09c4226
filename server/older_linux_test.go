package server_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"knockkit/internal/kernel/backend"
	"knockkit/internal/lab/labtest"
	"knockkit/protocol"
	"knockkit/server"
)

// olderSettings are those by which the rules in testdata/older were made.
func olderSettings() server.Settings {
	s := server.DefaultSettings()
	s.Policy.Ban = &protocol.Ban{After: 3, For: 600e9}
	return s
}

// olderNames are names of chains and maps that older builds gave, and this one does not.
var olderNames = regexp.MustCompile(`KNOCKD-(AT|IN)-|\b(in|early|back)-|moving[46]|event[46]\b|@?backs\b`)

// loadOlder commits what iptables-save and nft listed of an older build: the profiles mysql and
// shop (place = "prerouting", `cut`, `close`), a ban, and a lease of mysql given by hand.
func (s *site) loadOlder() {
	s.t.Helper()
	load := func(file, tool string, args ...string) {
		text, err := os.ReadFile(filepath.Join("testdata", "older", file))
		if err != nil {
			s.t.Fatal(err)
		}
		if !olderNames.Match(text) {
			s.t.Fatalf("%s has no name of an older build", file)
		}
		labtest.MustRun(s.t, s.host, string(text), tool, args...)
	}
	if s.srv.Backend().Name() == "nftables" {
		load("nftables", "nft", "-f", "-")
		return
	}
	load("iptables.v4", "iptables-restore")
	load("iptables.v6", "ip6tables-restore")
}

func TestWhatAnOlderBuildInstalledIsTakenOverWithItsLeases(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		s := newSite(t, name, olderSettings())
		s.loadOlder()
		var was *backend.Reading
		s.do(func() (err error) { was, err = s.srv.Read(t.Context(), 0); return err })
		if len(was.Profiles) != 2 || was.Profiles[0].Name != "mysql" || was.Profiles[1].Name != "shop" {
			t.Fatalf("recognised are the profiles %v", was.Profiles)
		}
		s.install(was.Profiles...)
		holder := netip.MustParseAddr("198.51.100.7")
		if !s.holds("mysql", holder) { // which reports drift too
			t.Error("the lease that was given by hand is gone")
		}
		if left := olderNames.FindString(s.saved()); left != "" {
			t.Errorf("%q is left of the older build:\n%s", left, s.saved())
		}
	})
}

func TestWhatAnOlderBuildInstalledIsTakenAwayWhole(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		s := newSite(t, name, olderSettings())
		s.loadOlder()
		s.do(func() error { _, err := s.srv.Remove(t.Context(), nil); return err })
		if left := regexp.MustCompile(`(?i).*knockd.*`).FindString(s.saved()); left != "" {
			t.Errorf("left is %q", left)
		}
	})
}

// TestGatesThatAnOlderBuildInstalledStayShutWhileTheyAreReplaced: maps of gates that have another name
// are no less in the way than those of this build.
func TestGatesThatAnOlderBuildInstalledStayShutWhileTheyAreReplaced(t *testing.T) {
	s := newSite(t, "nftables", olderSettings())
	s.loadOlder()
	var was *backend.Reading
	s.do(func() (err error) { was, err = s.srv.Read(t.Context(), 0); return err })
	before := s.texts(was.Profiles)[0].Text
	for chain, ports := range map[string]string{"barrier": "tcp . 3306, tcp . 8443", "barrier-pre": "tcp . 8443"} {
		shuts := regexp.MustCompile(`(?s)chain ` + chain + ` \{[^}]*\{ ` + ports + ` \} drop`)
		if !shuts.MatchString(before) {
			t.Errorf("%s does not shut %s before the gates are replaced:\n%s", chain, ports, before)
		}
	}
}

func TestABarrierThatAnOlderBuildLeftIsNamed(t *testing.T) {
	s := newSite(t, "nftables", olderSettings())
	s.loadOlder()
	labtest.MustRun(t, s.host, "", "nft", "add chain inet knockd hold { type filter hook input priority filter - 11; }")
	if drift := s.installed().Drift; !slices.Contains(drift, "chain hold is left of a commit that was interrupted, and shuts ports for everybody: install again") {
		t.Errorf("status says %q", drift)
	}
}
