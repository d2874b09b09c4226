package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"knockkit/internal/files"
)

// TestWhereTheProfileCannotBeWrittenTheKeyIsAsItWas also when it was to be replaced.
func TestWhereTheProfileCannotBeWrittenTheKeyIsAsItWas(t *testing.T) {
	for name, before := range map[string]string{"none was there": "", "another was there": "another key"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			key := part{what: "key", file: filepath.Join(dir, "keys", "ssh.key"), text: []byte("a key")}
			if before != "" {
				key.there = key.file
				if err := files.Write(key.file, []byte(before), false); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(filepath.Join(dir, "profiles"), nil, 0o600); err != nil { // where the folder is to be
				t.Fatal(err)
			}
			profile := part{what: "profile", file: filepath.Join(dir, "profiles", "ssh.toml"), text: []byte("a profile")}
			if err := write([]part{key, profile}, true); err == nil {
				t.Fatal("it can be written")
			}
			text, err := os.ReadFile(key.file)
			if string(text) != before || (before == "") != errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%q, error %v, want %q", text, err, before)
			}
		})
	}
}

// Somebody else has made the file since it was looked for.
func TestAFileThatAppearsMeanwhileIsNotReplaced(t *testing.T) {
	dir := t.TempDir()
	key := part{what: "key", file: filepath.Join(dir, "keys", "ssh.key"), text: []byte("a key")}
	profile := part{what: "profile", file: filepath.Join(dir, "profiles", "ssh.toml"), text: []byte("a profile")}
	if err := files.Write(profile.file, []byte("another"), false); err != nil {
		t.Fatal(err)
	}
	if err := write([]part{key, profile}, false); err == nil || err.Error() != profile.file+" is there already, and says something else" {
		t.Errorf("error %v", err)
	}
	text, err := os.ReadFile(profile.file)
	if string(text) != "another" || err != nil {
		t.Errorf("%q, error %v", text, err)
	}
	if _, err := os.Stat(key.file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("there is a key: %v", err)
	}
}

// The same link is enrolled twice at once.
func TestAFileThatAppearsMeanwhileAndIsTheSameIsUnchanged(t *testing.T) {
	dir := t.TempDir()
	parts := []part{
		{what: "key", file: filepath.Join(dir, "keys", "ssh.key"), text: []byte("a key")},
		{what: "profile", file: filepath.Join(dir, "profiles", "ssh.toml"), text: []byte("a profile")},
	}
	if err := files.Write(parts[0].file, parts[0].text, false); err != nil {
		t.Fatal(err)
	}
	if err := write(parts, false); err != nil || !parts[0].same || parts[1].same {
		t.Errorf("key unchanged %v, profile unchanged %v, error %v", parts[0].same, parts[1].same, err)
	}
	if text, err := os.ReadFile(parts[1].file); string(text) != "a profile" || err != nil {
		t.Errorf("%q, error %v", text, err)
	}
}
