package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"knockkit/protocol"
)

const good = "sequence = [\"icmp\", \"5001/tcp\"]\nopen = [\"22/tcp\"]\n"

// folder makes a configuration folder with profiles of the given texts.
func folder(t *testing.T, profiles map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "profiles"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range profiles {
		if err := os.WriteFile(filepath.Join(dir, "profiles", name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestWhereTheConfigurationIs(t *testing.T) {
	named := t.TempDir()
	other := t.TempDir()
	for _, c := range []struct {
		name string
		find func(string, func(string) string) (Folders, error)
		flag string
		env  map[string]string
		want Folders
	}{
		{"server: the default", Server, "", nil, Folders{Dirs: []string{"/etc/knockd"}}},
		{"server: the environment", Server, "", map[string]string{"KNOCKD_CONFIG": named, "KNOCK_CONFIG": other}, Folders{Dirs: []string{named}}},
		{"server: the flag wins", Server, named, map[string]string{"KNOCKD_CONFIG": other}, Folders{Dirs: []string{named}}},
		{"client: the home, then the system", Client, "", map[string]string{"HOME": "/home/ann"}, Folders{Dirs: []string{"/home/ann/.config/knock", "/etc/knock"}}},
		{"client: XDG", Client, "", map[string]string{"HOME": "/home/ann", "XDG_CONFIG_HOME": "/cfg"}, Folders{Dirs: []string{"/cfg/knock", "/etc/knock"}}},
		{"client: Windows, where a shell may have a home", Client, "", map[string]string{"HOME": "/home/ann", "AppData": "/data"}, Folders{Dirs: []string{"/data/knock"}}},
		{"client: a relative XDG is ignored", Client, "", map[string]string{"HOME": "/home/ann", "XDG_CONFIG_HOME": "cfg"}, Folders{Dirs: []string{"/home/ann/.config/knock", "/etc/knock"}}},
		{"client: no home", Client, "", nil, Folders{Dirs: []string{"/etc/knock"}}},
		{"client: the environment alone", Client, "", map[string]string{"HOME": "/home/ann", "KNOCK_CONFIG": named}, Folders{Dirs: []string{named}, Lax: true}},
		{"client: the flag alone", Client, named, map[string]string{"KNOCK_CONFIG": other}, Folders{Dirs: []string{named}, Lax: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := c.find(c.flag, func(name string) string { return c.env[name] })
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestANamedFolderMustExist(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	none := func(string) string { return "" }
	for name, flag := range map[string]string{"missing": file + "x", "not a folder": file} {
		if _, err := Client(flag, none); err == nil || !strings.Contains(err.Error(), "--config") {
			t.Errorf("%s: error %v, want one that names --config", name, err)
		}
	}
	_, err := Server("", func(string) string { return file + "x" })
	if err == nil || !strings.Contains(err.Error(), "KNOCKD_CONFIG") {
		t.Errorf("error %v, want one that names the variable", err)
	}
}

func TestProfilesAreLoadedByName(t *testing.T) {
	first := folder(t, map[string]string{"ssh.toml": "description = \"first\"\n" + good})
	second := folder(t, map[string]string{"ssh.toml": "description = \"second\"\n" + good, "web.toml": good})
	f := Folders{Dirs: []string{first, filepath.Join(first, "missing"), second}}
	e, err := f.Load("ssh")
	if err != nil || e.Profile.Description != "first" {
		t.Fatalf("%+v, error %v, want the earlier folder's", e, err)
	}
	if e, err := f.Load("web"); err != nil || e.File != filepath.Join(second, "profiles", "web.toml") {
		t.Errorf("%+v, error %v, want the later folder's", e, err)
	}
}

func TestAnUnknownProfileSaysWhatWasMeant(t *testing.T) {
	f := Folders{Dirs: []string{folder(t, map[string]string{"mysql.toml": good, "ssh.toml": good})}}
	_, err := f.Load("mysq")
	var unknown *UnknownProfileError
	if !errors.As(err, &unknown) || unknown.Closest() != "mysql" || !cmp.Equal(unknown.Known, []string{"mysql", "ssh"}) {
		t.Errorf("error %#v, want mysql to be closest of both", err)
	}
}

func TestANameIsNeverAPath(t *testing.T) {
	dir := folder(t, map[string]string{"ssh.toml": good})
	var unknown *UnknownProfileError
	for _, name := range []string{"", "../profiles/ssh", filepath.Join(dir, "profiles", "ssh"), "a\x00b"} {
		if _, err := (Folders{Dirs: []string{dir}}).Load(name); !errors.As(err, &unknown) {
			t.Errorf("Load(%q): error %v, want an unknown profile", name, err)
		}
	}
}

func TestABrokenProfileIsListedAndStopsNoOther(t *testing.T) {
	dir := folder(t, map[string]string{
		"web.toml":   good,
		"bad.toml":   "open = 1\n",
		"big.toml":   strings.Repeat("# too long\n", protocol.MaxProfileSize),
		".web.toml":  "an editor's leftover",
		"web.toml~":  "another",
		"readme.txt": "not a profile",
	})
	if err := syscall.Mkfifo(filepath.Join(dir, "profiles", "pipe.toml"), 0o600); err != nil {
		t.Fatal(err)
	}
	entries, err := Folders{Dirs: []string{dir}}.List()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name)
		got[e.Name] = e.Profile != nil
		if (e.Profile == nil) != (e.Err != nil) {
			t.Errorf("%s has profile %v and error %v", e.Name, e.Profile, e.Err)
		}
	}
	if diff := cmp.Diff([]string{"bad", "big", "pipe", "web"}, names); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]bool{"bad": false, "big": false, "pipe": false, "web": true}, got); diff != "" {
		t.Error(diff)
	}
	var broken *BrokenError
	if _, err := (Folders{Dirs: []string{dir}}).Load("bad"); !errors.As(err, &broken) || !broken.Diagnostics.HasErrors() {
		t.Errorf("error %v, want a BrokenError with its diagnostics", err)
	}
}

func TestNoFolderMeansNoProfiles(t *testing.T) {
	entries, err := Folders{Dirs: []string{filepath.Join(t.TempDir(), "missing")}}.List()
	if err != nil || len(entries) != 0 {
		t.Errorf("%v, error %v, want neither", entries, err)
	}
}

func TestOtherFilesAreFoundOrWouldBeInTheFirstFolder(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(b, "knockd.toml"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f := Folders{Dirs: []string{a, b}}
	if got := f.file("knockd.toml"); got != filepath.Join(b, "knockd.toml") {
		t.Errorf("got %s, want the one that exists", got)
	}
	if got := f.ProfileFile("new"); got != filepath.Join(a, "profiles", "new.toml") {
		t.Errorf("got %s, want it in the first folder", got)
	}
}
