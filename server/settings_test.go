package server_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"knockkit/protocol"
	"knockkit/server"
)

// update rewrites what the golden files want. Read the difference before it is
// committed.
var update = flag.Bool("update", false, "write what ParseSettings says into the golden files")

// Every file of testdata/settings holds a knockd.toml and what ParseSettings says
// about it: the diagnostics, and the settings when there is no error.
func TestEverySettingsFileGetsExactlyItsDiagnostics(t *testing.T) {
	files, err := filepath.Glob("testdata/settings/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 15 {
		t.Fatalf("testdata/settings has %d files: some are lost", len(files))
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if archive.Files[0].Name != "knockd.toml" {
				t.Fatalf("%s has no knockd.toml", file)
			}
			got := saidOfSettings(t, archive.Files[0].Data)
			if *update {
				archive.Files = []txtar.File{archive.Files[0], {Name: "want", Data: got}}
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if len(archive.Files) != 2 {
				t.Fatalf("%s does not hold knockd.toml and then want", file)
			}
			if diff := cmp.Diff(string(archive.Files[1].Data), string(got)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", file, diff)
			}
		})
	}
}

func saidOfSettings(t *testing.T, text []byte) []byte {
	t.Helper()
	s, ds := server.ParseSettings("knockd.toml", text)
	var b bytes.Buffer
	if err := ds.Write(&b); err != nil {
		t.Fatal(err)
	}
	if ds.HasErrors() {
		if diff := cmp.Diff(server.DefaultSettings().Policy, s.Policy); diff != "" || s.Backend != "auto" || s.Metrics.IsValid() || s.Fleet != nil || s.Audience != "" {
			t.Errorf("a file with errors has settings: %+v", s)
		}
		return b.Bytes()
	}
	metrics := ""
	if s.Metrics.IsValid() {
		metrics = s.Metrics.String()
	}
	ban := ""
	if s.Policy.Ban != nil {
		ban = protocol.FormatDuration(s.Policy.Ban.For)
	}
	settings := map[string]any{"backend": s.Backend, "strict": s.Policy.Strict, "ban": ban, "metrics": metrics}
	if s.Audience != "" {
		settings["audience"] = s.Audience
	}
	if s.Fleet != nil {
		settings["fleet"] = s.Fleet
	}
	line, err := json.Marshal(settings)
	if err != nil {
		t.Fatal(err)
	}
	return append(b.Bytes(), append(line, '\n')...)
}
