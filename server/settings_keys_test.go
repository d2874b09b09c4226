package server

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"knockkit/internal/tomldoc"
)

func TestTheReferenceHasTheSettingsThatTheParserAsksFor(t *testing.T) {
	doc := tomldoc.Parse([]byte("ban = {}\nfleet = {}\n"), MaxSettingsSize)
	s := DefaultSettings()
	s.read(doc, "")
	var has []string
	for _, k := range SettingKeys() {
		has = append(has, k.Name)
		if _, diagnostics := ParseSettings("knockd.toml", []byte(k.Example+"\n")); len(diagnostics) > 0 {
			t.Errorf("%s: the example: %v", k.Name, diagnostics)
		}
		if k.Default == "" {
			continue
		}
		text, want := k.Name+" = "+k.Default+"\n", DefaultSettings()
		if strings.HasPrefix(k.Name, "fleet.") {
			text = "fleet = { name = \"web\", secret = \"fleet.key\", nodes = [\"198.51.100.11:7115\"] }\n"
			want, _ = ParseSettings("knockd.toml", []byte(text))
			text = strings.Replace(text, " }", ", "+strings.TrimPrefix(k.Name, "fleet.")+" = "+k.Default+" }", 1)
		}
		written, diagnostics := ParseSettings("knockd.toml", []byte(text))
		if diff := cmp.Diff(want, written, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" || len(diagnostics) > 0 {
			t.Errorf("%s: its default %s is not what it is unset", k.Name, k.Default)
		}
	}
	slices.Sort(has)
	if diff := cmp.Diff(slices.Compact(slices.Sorted(slices.Values(doc.Asked()))), has); diff != "" {
		t.Errorf("-parser +reference:\n%s", diff)
	}
}
