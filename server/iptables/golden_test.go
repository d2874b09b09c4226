package iptables_test

import (
	"bufio"
	"bytes"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"knockkit/protocol"
	"knockkit/server"
	"knockkit/server/iptables"
)

// update rewrites what the golden files want. Read the difference before it is
// committed.
var update = flag.Bool("update", false, "write the rendered rules into the golden files")

// golden is one file of testdata/golden: profiles, perhaps a knockd.toml and
// leases given by hand ("grants": PROFILE PREFIX UNTIL, a line each), then the
// rules of each family.
type golden struct {
	name     string
	file     string
	archive  *txtar.Archive
	profiles []*protocol.Profile
	policy   protocol.Policy
	grants   []iptables.Grant
}

func goldens(t *testing.T) []golden {
	t.Helper()
	files, err := filepath.Glob("testdata/golden/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 15 {
		t.Fatalf("testdata/golden has %d files: some are lost", len(files))
	}
	var all []golden
	for _, file := range files {
		all = append(all, readGolden(t, file))
	}
	return all
}

func readGolden(t *testing.T, file string) golden {
	t.Helper()
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	g := golden{name: strings.TrimSuffix(filepath.Base(file), ".txtar"), file: file, archive: archive,
		policy: server.DefaultSettings().Policy}
	for _, f := range archive.Files {
		switch {
		case f.Name == "knockd.toml":
			settings, diagnostics := server.ParseSettings(f.Name, f.Data)
			if err := diagnostics.Err(); err != nil {
				t.Fatal(err)
			}
			g.policy = settings.Policy
		case f.Name == "grants":
			g.grants = readGrants(t, f.Data)
		case strings.HasSuffix(f.Name, ".toml"):
			p, diagnostics := protocol.ParseProfile(f.Name, f.Data)
			if diagnostics.HasErrors() {
				t.Fatal(file, diagnostics)
			}
			g.profiles = append(g.profiles, p)
		}
	}
	if len(g.profiles) == 0 {
		t.Fatalf("%s has no profile", file)
	}
	return g
}

func readGrants(t *testing.T, text []byte) []iptables.Grant {
	t.Helper()
	var grants []iptables.Grant
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		until, err := time.Parse(time.RFC3339, fields[2])
		if err != nil {
			t.Fatal(err)
		}
		grants = append(grants, iptables.Grant{Profile: fields[0], Holder: netip.MustParsePrefix(fields[1]), Until: until})
	}
	return grants
}

// render returns the rules of one family as they are where nothing is installed.
func (g golden) render(t *testing.T, f protocol.Family) *iptables.Ruleset {
	t.Helper()
	if errs := protocol.CheckTogether(g.profiles); len(errs) > 0 {
		t.Fatal(errs)
	}
	a, err := protocol.Compile(g.profiles, f)
	if err != nil {
		t.Fatal(err)
	}
	var grants []iptables.Grant
	for _, gr := range g.grants {
		if protocol.FamilyOf(gr.Holder.Addr()) == f {
			grants = append(grants, gr)
		}
	}
	return iptables.Render(iptables.Input{Automaton: a, Policy: g.policy, Grants: grants})
}

// TestEveryProfileBecomesExactlyTheseRules shows the whole text, as a reader of
// `knockd render` sees it.
func TestEveryProfileBecomesExactlyTheseRules(t *testing.T) {
	for _, g := range goldens(t) {
		t.Run(g.name, func(t *testing.T) {
			for _, f := range protocol.Families() {
				got := []byte(g.render(t, f).Text())
				if *update {
					g.set(f.String(), got)
				} else if diff := cmp.Diff(g.get(f.String()), string(got)); diff != "" {
					t.Errorf("%s, %s (-want +got):\n%s", g.file, f, diff)
				}
			}
			if *update {
				if err := os.WriteFile(g.file, txtar.Format(g.archive), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func (g golden) get(name string) string {
	for _, f := range g.archive.Files {
		if f.Name == name {
			return string(f.Data)
		}
	}
	return "(no file " + name + ")\n"
}

func (g golden) set(name string, data []byte) {
	for i, f := range g.archive.Files {
		if f.Name == name {
			g.archive.Files[i].Data = data
			return
		}
	}
	g.archive.Files = append(g.archive.Files, txtar.File{Name: name, Data: data})
}
