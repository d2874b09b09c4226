package server

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"knockkit/protocol"
)

func TestAnActSaysInWordsWhatWasDone(t *testing.T) {
	p := &protocol.Profile{Name: "mysql", Sequence: make([]protocol.Step, 3)}
	holder := netip.MustParsePrefix("10.9.0.0/24")
	for want, g := range map[string]Granted{
		"open for 30m":                                   {Covers: holder, Lasts: 30 * time.Minute},
		"open until it is revoked":                       {Covers: holder},
		"open for 1h, for one connection":                {Covers: holder, Lasts: time.Hour, Once: true},
		"open for 1h, if at all: the rules have drifted": {Covers: holder, Lasts: time.Hour, Drift: []string{"INPUT does not jump"}},
	} {
		if a := granted(p, g); a.Detail != want || a.Lease != g.Lasts || a.Address != holder || a.Steps != 3 {
			t.Errorf("%+v, not %q", a, want)
		}
	}
	change := Change{Added: []string{"a"}, Updated: []string{"b", "c"}, Removed: []string{"d"}, Kept: []string{"e"}}
	for trial, want := range map[time.Duration][]string{
		0:                {"install a installed", "install b installed again", "install c installed again", "remove d removed"},
		30 * time.Second: {"install a installed for a trial of 30s", "install b installed again for a trial of 30s", "install c installed again for a trial of 30s", "remove d removed for a trial of 30s"},
	} {
		var got []string
		for _, a := range change.acts(trial) {
			got = append(got, fmt.Sprint(a.Kind, " ", a.Profile, " ", a.Detail))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
}

func TestAnInstallOfOtherSettingsIsSaidToBeOne(t *testing.T) {
	acts := Change{Updated: []string{"a"}, Settings: []string{"strict", "ban"}}.acts(time.Minute)
	if want := "installed again for a trial of 1m: strict and ban of knockd.toml changed"; len(acts) != 1 || acts[0].Detail != want {
		t.Errorf("%+v, not %q", acts, want)
	}
}
