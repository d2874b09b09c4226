package format

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"knockkit/protocol"
)

// update rewrites what the golden files want. Read the difference before it is
// committed.
var update = flag.Bool("update", false, "write what ParseProfile says into the golden files")

// Every file of testdata/profiles holds a profile and what ParseProfile says
// about it: the diagnostics, and for a profile without errors its canonical form.
func TestEveryProfileGetsExactlyItsDiagnostics(t *testing.T) {
	files, err := filepath.Glob("testdata/profiles/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	bad, warned, clean := 0, 0, 0
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if len(archive.Files) != 2 || archive.Files[1].Name != "want" {
				t.Fatalf("%s does not hold a profile and then want", file)
			}
			p, ds := ParseProfile(archive.Files[0].Name, archive.Files[0].Data)
			got := said(t, p, ds)
			switch {
			case ds.HasErrors():
				bad++
			case len(ds) > 0:
				warned++
			default:
				clean++
			}
			if *update {
				archive.Files[1].Data = got
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(archive.Files[1].Data), string(got)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", file, diff)
			}
		})
	}
	t.Logf("%d bad, %d with warnings, %d clean", bad, warned, clean)
	if bad < 60 || warned < 5 || clean < 3 {
		t.Errorf("%d bad, %d warned about and %d clean profiles; want at least 60, 5 and 3", bad, warned, clean)
	}
}

// said is what a person sees of a profile.
func said(t *testing.T, p *protocol.Profile, ds Diagnostics) []byte {
	t.Helper()
	if (p == nil) != ds.HasErrors() {
		t.Fatalf("profile %v comes with errors %v", p, ds.Errors())
	}
	var b bytes.Buffer
	if err := ds.Write(&b); err != nil {
		t.Fatal(err)
	}
	if p != nil {
		b.WriteString(Canonical(p) + "\n")
	}
	return b.Bytes()
}
