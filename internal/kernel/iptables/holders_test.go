package iptables

import (
	"fmt"
	"testing"

	"knockkit/protocol"
	"knockkit/protocol/format"
)

// TestProfilesShareAsFewTablesOfHoldersAsThereIsRoomFor: sources that crowd a shared
// table push each other out of it.
func TestProfilesShareAsFewTablesOfHoldersAsThereIsRoomFor(t *testing.T) {
	for _, c := range []struct{ profiles, most int }{{1, 1}, {8, 1}, {9, 2}, {16, 2}, {100, 13}} {
		users := map[string]int{}
		for _, table := range holdersOf(t, named(t, c.profiles), nil) {
			users[table]++
		}
		if len(users) != min(c.profiles, 8) {
			t.Errorf("%d profiles have %d tables", c.profiles, len(users))
		}
		for table, n := range users {
			if n > c.most {
				t.Errorf("of %d profiles, %d share %s, not at most %d", c.profiles, n, table, c.most)
			}
		}
	}
}

// TestAProfileKeepsItsTableOfHolders while others come in front of it and go: the
// leases that are noted there would be lost.
func TestAProfileKeepsItsTableOfHolders(t *testing.T) {
	all := named(t, 30)
	had := holdersOf(t, all[10:20], nil)
	for _, now := range [][]*protocol.Profile{all, all[15:], all[10:20]} {
		for name, table := range holdersOf(t, now, had) {
			if before, ok := had[name]; ok && before != table {
				t.Errorf("with %d profiles %s has %s, and had %s", len(now), name, table, before)
			}
		}
	}
}

// named returns n profiles that share nothing.
func named(t *testing.T, n int) []*protocol.Profile {
	t.Helper()
	var all []*protocol.Profile
	for i := range n {
		text := fmt.Sprintf("sequence = [\"%d/tcp\", \"%d/tcp\"]\nopen = [\"%d/tcp\"]\n", 10_000+i, 20_000+i, 1_000+i)
		p, diagnostics := format.ParseProfile(fmt.Sprintf("p%03d.toml", i), []byte(text))
		if diagnostics.HasErrors() {
			t.Fatal(diagnostics)
		}
		all = append(all, p)
	}
	return all
}

func renderNamed(t *testing.T, profiles []*protocol.Profile, had map[string]string) *ruleset {
	t.Helper()
	a, err := protocol.Compile(profiles, protocol.IPv4)
	if err != nil {
		t.Fatal(err)
	}
	return render(input{Automaton: a, Policy: protocol.Policy{Strict: true}, Shared: had})
}

// holdersOf renders the profiles and reads from the rules which table each has.
func holdersOf(t *testing.T, profiles []*protocol.Profile, had map[string]string) map[string]string {
	t.Helper()
	is, err := readAbout(protocol.IPv4, renderNamed(t, profiles, had).record(), parsedProfiles{})
	if err != nil || len(is.Shared) != len(profiles) {
		t.Fatalf("%d of %d profiles have a table: %v", len(is.Shared), len(profiles), err)
	}
	return is.Shared
}
