package docs

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"knockkit/protocol/format"
	"knockkit/server"
)

// TestTheProfileReferenceIsGeneratedFromTheParsersKeys holds docs/profile.md against
// the lists that the parsers are tested against.
func TestTheProfileReferenceIsGeneratedFromTheParsersKeys(t *testing.T) {
	generated(t, "docs/profile.md", "profile keys", keyTable(format.Keys()))
	generated(t, "docs/profile.md", "settings", keyTable(server.SettingKeys()))
}

func keyTable(keys []format.Key) string {
	var b strings.Builder
	b.WriteString("| key | unset | meaning | example |\n|---|---|---|---|\n")
	for _, k := range keys {
		fmt.Fprintf(&b, "| `%s` | %s | %s | `%s` |\n", k.Name, code(k.Default), k.Meaning, k.Example)
	}
	return b.String()
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}

// generated compares a document's part between two markers with what it should be, or
// writes it.
func generated(t *testing.T, file, part, want string) {
	t.Helper()
	begin, end := fmt.Sprintf("<!-- generated: %s -->\n", part), fmt.Sprintf("<!-- end: %s -->", part)
	text := read(t, filepath.Join(root, file))
	before, rest, ok := strings.Cut(text, begin)
	is, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s has no part between %q and %q", file, begin, end)
	}
	if is == want {
		return
	}
	if !*update {
		t.Errorf("%s: the part %q is not what is generated: go test ./internal/docs -update", file, part)
		return
	}
	if err := os.WriteFile(filepath.Join(root, file), []byte(before+begin+want+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestTheExamplesInTheProfileReferenceAreRead(t *testing.T) {
	for _, b := range only(blocks(t, "docs/profile.md", "toml", "text"), "toml") {
		file, text := strings.Fields(b.About)[0], []byte(b.Text)
		if file == "knockd.toml" {
			if _, diagnostics := server.ParseSettings(file, text); len(diagnostics) > 0 {
				t.Errorf("%s: %v", file, diagnostics)
			}
		} else if _, diagnostics := format.ParseProfile(file, text); diagnostics.HasErrors() {
			t.Errorf("%s: %v", file, diagnostics)
		}
	}
}

func TestTheLinkInTheProfileReferenceIsRead(t *testing.T) {
	n := 0
	for line := range strings.Lines(read(t, root+"/docs/profile.md")) {
		if strings.HasPrefix(line, "knock://") {
			n++
			if _, err := format.ParseLink(strings.TrimSpace(line)); err != nil {
				t.Errorf("%s%v", line, err)
			}
		}
	}
	if n == 0 {
		t.Error("the page has no link")
	}
}
