package classic_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"knockkit/internal/classic"
	"knockkit/protocol"
	"knockkit/protocol/format"
)

// update rewrites what the golden files want. Read the difference before it is
// committed.
var update = flag.Bool("update", false, "write what Read says into the golden files")

// golden returns the configurations: each a file of testdata/configs, whose first
// part is the configuration.
func golden(t testing.TB) map[string]*txtar.Archive {
	t.Helper()
	files, err := filepath.Glob("testdata/configs/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]*txtar.Archive{}
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if len(archive.Files) == 0 || !strings.HasSuffix(archive.Files[0].Name, ".conf") {
			t.Fatalf("%s does not begin with a configuration", file)
		}
		all[file] = archive
	}
	if len(all) < 12 {
		t.Fatalf("%d configurations, want at least 12", len(all))
	}
	return all
}

// Behind the configuration are the profiles that it becomes, and then the notes;
// or, when it cannot be read, the reasons.
func TestEveryConfigurationBecomesExactlyItsProfilesAndNotes(t *testing.T) {
	carried, broken := 0, 0
	for file, archive := range golden(t) {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			config := archive.Files[0]
			im, err := classic.Read(config.Name, config.Data)
			got := &txtar.Archive{Comment: archive.Comment, Files: []txtar.File{config}}
			if err != nil {
				broken++
				got.Files = append(got.Files, txtar.File{Name: "refused", Data: []byte(err.Error() + "\n")})
			} else {
				check(t, im)
				got.Files = append(got.Files, said(im)...)
				if len(im.Profiles) > 0 {
					carried++
				}
			}
			want, text := txtar.Format(archive), txtar.Format(got)
			if *update {
				if err := os.WriteFile(file, text, 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(want), string(text)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", file, diff)
			}
		})
	}
	if carried < 12 || broken < 3 {
		t.Errorf("%d configurations become profiles and %d are refused; want at least 12 and 3", carried, broken)
	}
}

// said is what a person gets.
func said(im *classic.Import) []txtar.File {
	var files []txtar.File
	for _, p := range im.Profiles {
		files = append(files, txtar.File{Name: p.Name + ".toml", Data: []byte(p.Text)})
	}
	var notes bytes.Buffer
	for _, n := range im.Remarks {
		notes.WriteString(n.Diagnostic.String() + "\n")
	}
	return append(files, txtar.File{Name: "notes", Data: notes.Bytes()})
}

// check is what holds for every import, whatever the configuration.
func check(t testing.TB, im *classic.Import) {
	t.Helper()
	names := map[string]bool{}
	var profiles []*protocol.Profile
	for _, p := range im.Profiles {
		if names[p.Name] {
			t.Errorf("two profiles have the name %s", p.Name)
		}
		names[p.Name] = true
		again, diagnostics := format.ParseProfile(p.Name+".toml", []byte(p.Text))
		if diagnostics.HasErrors() {
			t.Fatalf("%v in\n%s", diagnostics, p.Text)
		}
		if format.Canonical(again) != format.Canonical(p.Parsed) {
			t.Errorf("%s is read as %s", format.Canonical(p.Parsed), format.Canonical(again))
		}
		profiles = append(profiles, again)
	}
	if errs := protocol.CheckTogether(profiles); len(errs) > 0 {
		t.Error(errs)
	}
	for _, family := range protocol.Families() {
		if _, err := protocol.Compile(profiles, family); err != nil {
			t.Error(err)
		}
	}
	why := map[string]bool{}
	for _, n := range im.Remarks {
		if n.Severity == format.SeverityError {
			why[n.Section] = true
		}
		if n.Message == "" || n.Line < 1 || n.Width < 1 || strings.Count(n.Diagnostic.String(), "\n") > 3 {
			t.Errorf("a note is no use: %+v", n)
		}
	}
	for _, s := range im.Left {
		if !why[s.Title] {
			t.Errorf("nothing says why [%s] was left", s.Title)
		}
	}
}
