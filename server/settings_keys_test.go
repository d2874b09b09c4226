package server

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"knockkit/internal/tomldoc"
)

func TestTheReferenceHasTheSettingsThatTheParserAsksFor(t *testing.T) {
	doc := tomldoc.Parse([]byte("ban = {}\n"), MaxSettingsSize)
	s := DefaultSettings()
	s.read(doc)
	var has []string
	for _, k := range SettingKeys() {
		has = append(has, k.Name)
		if _, diagnostics := ParseSettings("knockd.toml", []byte(k.Example+"\n")); len(diagnostics) > 0 {
			t.Errorf("%s: the example: %v", k.Name, diagnostics)
		}
		if k.Default == "" {
			continue
		}
		written, _ := ParseSettings("knockd.toml", []byte(k.Name+" = "+k.Default+"\n"))
		if diff := cmp.Diff(DefaultSettings(), written, cmp.Comparer(func(x, y Settings) bool { return x == y })); diff != "" {
			t.Errorf("%s: its default %s is not what it is unset", k.Name, k.Default)
		}
	}
	slices.Sort(has)
	if diff := cmp.Diff(slices.Compact(slices.Sorted(slices.Values(doc.Asked()))), has); diff != "" {
		t.Errorf("-parser +reference:\n%s", diff)
	}
}
