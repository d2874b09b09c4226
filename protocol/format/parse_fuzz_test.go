package format

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// Whatever a file holds, it is either refused with diagnostics that can be
// printed, or a profile that survives being stored in the kernel.
func FuzzParseProfile(f *testing.F) {
	golden, err := filepath.Glob("testdata/profiles/*.txtar")
	if err != nil || len(golden) == 0 {
		f.Fatalf("no profiles to begin with: %v", err)
	}
	for _, file := range golden {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(archive.Files[0].Data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, ds := ParseProfile("mysql.toml", data)
		if (p == nil) != ds.HasErrors() {
			t.Fatalf("profile %v with %v", p, ds)
		}
		for _, d := range ds {
			if lines := strings.Split(d.String(), "\n"); len(lines) > 4 || d.Message == "" || d.Line > 0 && d.Width < 1 {
				t.Fatalf("%d lines: %q", len(lines), lines)
			}
		}
		if p == nil {
			return
		}
		text := Canonical(p)
		back, err := ParseCanonical(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if again := Canonical(back); again != text {
			t.Fatalf("%s is read back as %s", text, again)
		}
	})
}

func FuzzParseCanonical(f *testing.F) {
	f.Add(`{"name":"mysql","sequence":["icmp",{"knock":"7/tcp","within":"0"}],"open":["3306/tcp"],"prefix":{"ipv4":24}}`)
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParseCanonical(text)
		if err != nil {
			return
		}
		once := Canonical(p)
		back, err := ParseCanonical(once)
		if err != nil {
			t.Fatalf("%s: %v", once, err)
		}
		if diff := same(p, back); diff != "" || Canonical(back) != once {
			t.Fatalf("%s:\n%s", once, diff)
		}
	})
}

// A corpus that somebody moved away would let the fuzzers pass with nothing.
func TestTheFuzzersHaveACorpus(t *testing.T) {
	for _, name := range []string{"FuzzParseProfile", "FuzzParseCanonical", "FuzzLink", "FuzzKeyFile"} {
		entries, err := os.ReadDir(filepath.Join("testdata", "fuzz", name))
		if err != nil || len(entries) < 5 {
			t.Errorf("%s: %d entries, %v; want at least 5", name, len(entries), err)
		}
	}
}
