package iptables

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

	"github.com/BurntSushi/toml"
	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"knockkit/protocol"
	"knockkit/protocol/format"
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
	grants   []grant
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
		policy: protocol.Policy{Strict: true}}
	for _, f := range archive.Files {
		switch {
		case f.Name == "knockd.toml":
			g.policy = readPolicy(t, f.Data)
		case f.Name == "grants":
			g.grants = readGrants(t, f.Data)
		case strings.HasSuffix(f.Name, ".toml"):
			p, diagnostics := format.ParseProfile(f.Name, f.Data)
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

// readPolicy reads the settings that rules follow from. Package server, which reads all of
// them, has this one below it.
func readPolicy(t *testing.T, text []byte) protocol.Policy {
	t.Helper()
	settings := struct {
		Strict bool
		Ban    *struct {
			After int
			For   string
		}
	}{Strict: true}
	if err := toml.Unmarshal(text, &settings); err != nil {
		t.Fatal(err)
	}
	policy := protocol.Policy{Strict: settings.Strict}
	if b := settings.Ban; b != nil {
		d, err := time.ParseDuration(b.For)
		if err != nil {
			t.Fatal(err)
		}
		policy.Ban = &protocol.Ban{After: b.After, For: d}
	}
	return policy
}

func readGrants(t *testing.T, text []byte) []grant {
	t.Helper()
	var grants []grant
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		until, err := time.Parse(time.RFC3339, fields[2])
		if err != nil {
			t.Fatal(err)
		}
		grants = append(grants, grant{Profile: fields[0], Holder: netip.MustParsePrefix(fields[1]), Until: until})
	}
	return grants
}

// render returns the rules of one family as they are where nothing is installed.
func (g golden) render(t *testing.T, f protocol.Family) *ruleset {
	t.Helper()
	if errs := protocol.CheckTogether(g.profiles); len(errs) > 0 {
		t.Fatal(errs)
	}
	a, err := protocol.Compile(g.profiles, f)
	if err != nil {
		t.Fatal(err)
	}
	var grants []grant
	for _, gr := range g.grants {
		if protocol.FamilyOf(gr.Holder.Addr()) == f {
			grants = append(grants, gr)
		}
	}
	return render(input{Automaton: a, Policy: g.policy, Grants: grants})
}

// TestEveryProfileBecomesExactlyTheseRules shows the whole text, as a reader of
// `knockd render` sees it.
func TestEveryProfileBecomesExactlyTheseRules(t *testing.T) {
	for _, g := range goldens(t) {
		t.Run(g.name, func(t *testing.T) {
			for _, f := range protocol.Families() {
				got := []byte(g.render(t, f).text())
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
