package protocol_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"knockkit/protocol"
	"knockkit/protocol/format"
)

var update = flag.Bool("update", false, "write the golden files anew")

// Every file of testdata/graphs holds profiles, and how their automaton is drawn.
func TestEveryAutomatonIsDrawnExactlySo(t *testing.T) {
	files, err := filepath.Glob("testdata/graphs/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 4 {
		t.Fatalf("testdata/graphs has %d files: some are lost", len(files))
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			inputs := archive.Files[:0:0]
			var profiles []*protocol.Profile
			want := map[string]string{}
			for _, f := range archive.Files {
				if !strings.HasSuffix(f.Name, ".toml") {
					want[f.Name] = string(f.Data)
					continue
				}
				inputs = append(inputs, f)
				p, ds := format.ParseProfile(f.Name, f.Data)
				if p == nil {
					t.Fatal(ds)
				}
				profiles = append(profiles, p)
			}
			a, err := protocol.Compile(profiles, protocol.IPv4)
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]string{"mermaid": protocol.Mermaid(a), "dot": protocol.Dot(a)}
			if *update {
				for _, name := range []string{"mermaid", "dot"} {
					inputs = append(inputs, txtar.File{Name: name, Data: []byte(got[name])})
				}
				archive.Files = inputs
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", file, diff)
			}
		})
	}
}
