package iptables

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"knockkit/internal/kernel/iptables/save"
	"knockkit/protocol"
	"knockkit/protocol/format"
)

// TestTheKernelsCopyTellsAllThatWasInstalled: nothing is kept outside the kernel,
// so the rules must say which profiles, settings, leases and tables they stand for.
func TestTheKernelsCopyTellsAllThatWasInstalled(t *testing.T) {
	for _, f := range protocol.Families() {
		eachRandom(t, f, 50, func(seed uint64, in input) {
			rules := render(in)
			is := parseSaved(t, f, rules.text())
			if diff := cmp.Diff(chains(rules), chains(is.ours)); diff != "" {
				t.Fatalf("seed %d: the rules read back differ:\n%s", seed, diff)
			}
			about, err := readAbout(f, is.ours.record(), parsedProfiles{})
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if diff := cmp.Diff(canonical(in.Automaton.Profiles), canonical(about.Profiles)); diff != "" {
				t.Fatalf("seed %d: profiles: %s", seed, diff)
			}
			if diff := cmp.Diff(in.Policy, about.Policy); diff != "" {
				t.Fatalf("seed %d: policy: %s", seed, diff)
			}
			if diff := cmp.Diff(fmt.Sprint(in.Grants), fmt.Sprint(about.Grants)); diff != "" {
				t.Fatalf("seed %d: grants: %s", seed, diff)
			}
			// The same rules follow from what was read, tables' names included.
			if diff := cmp.Diff(rules.text(), render(about.input(in.Automaton)).text()); diff != "" {
				t.Fatalf("seed %d: rendered again: %s", seed, diff)
			}
		})
	}
}

// parseSaved reads a text of iptables-save.
func parseSaved(t *testing.T, f protocol.Family, text string) *saved {
	t.Helper()
	tables, err := save.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return readSaved(f, tables)
}

func canonical(profiles []*protocol.Profile) []string {
	var all []string
	for _, p := range profiles {
		all = append(all, format.Canonical(p))
	}
	return all
}

// TestAPositionKeepsItsTableWhenOthersComeToShareIt: the entries live in the
// kernel under the table's name.
func TestAPositionKeepsItsTableWhenOthersComeToShareIt(t *testing.T) {
	parse := func(name, sequence string) *protocol.Profile {
		p, ds := format.ParseProfile(name+".toml", []byte("sequence = "+sequence+"\nopen = [\"80/tcp\"]\n"))
		if p == nil {
			t.Fatal(ds)
		}
		return p
	}
	known := func(was map[string]string, profiles ...*protocol.Profile) map[string]string {
		a, err := protocol.Compile(profiles, protocol.IPv4)
		if err != nil {
			t.Fatal(err)
		}
		about, err := readAbout(protocol.IPv4, render(input{Automaton: a, Positions: was}).record(), parsedProfiles{})
		if err != nil {
			t.Fatal(err)
		}
		return about.Positions
	}
	web := parse("web", `["1001/tcp", "1002/tcp", "1003/tcp"]`)
	first := known(nil, web)
	if diff := cmp.Diff(map[string]string{"1001/tcp": "web.1.KNOCKD4", "1001/tcp 1002/tcp": "web.2.KNOCKD4"}, first); diff != "" {
		t.Fatal(diff)
	}
	// aaa sorts before web and shares its first knock; its second is its own.
	second := known(first, web, parse("aaa", `["1001/tcp", "9/udp", "1003/tcp"]`))
	if diff := cmp.Diff(map[string]string{"1001/tcp": "web.1.KNOCKD4", "1001/tcp 1002/tcp": "web.2.KNOCKD4",
		"1001/tcp 9/udp": "aaa.2.KNOCKD4"}, second); diff != "" {
		t.Error(diff)
	}
	// web with another second knock: that is another position, so another table.
	third := known(first, parse("web", `["1001/tcp", "1009/tcp", "1003/tcp"]`))
	if diff := cmp.Diff(map[string]string{"1001/tcp": "web.1.KNOCKD4", "1001/tcp 1009/tcp": "web.2.v2.KNOCKD4"}, third); diff != "" {
		t.Error(diff)
	}
}

// chains leaves out the order of chains: they are declared and printed by name.
func chains(r *ruleset) map[string][]string {
	all := map[string][]string{}
	for _, c := range r.Chains {
		all[c.Name] = append([]string{}, c.Rules...)
	}
	return all
}

func TestARecordThatSomebodyChangedIsAnError(t *testing.T) {
	for name, rule := range map[string]string{
		"not a piece":      `-m comment --comment "profile {\"name\":\"web\"}"`,
		"not JSON":         `-m comment --comment "profile 1/1 {"`,
		"no valid profile": `-m comment --comment "profile 1/1 {\"name\":\"web\",\"open\":[]}"`,
		"settings":         `-m comment --comment "settings 1/1 strict"`,
		"an open quote":    `-m comment --comment "profile`,
		"no lease":         `-m comment --comment "given 1/1 web"`,
		"no date":          `-m comment --comment "given 1/1 web 10.0.0.0/8 tomorrow"`,
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := readAbout(protocol.IPv4, []string{rule}, parsedProfiles{}); err == nil {
				t.Error("it was believed")
			}
		})
	}
}
