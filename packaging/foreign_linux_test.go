package packaging

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// newInstallerAt returns one that has something in the place of everything that is built, and
// these files below DESTDIR.
func newInstallerAt(t *testing.T, files map[string]string) *installer {
	t.Helper()
	i := newInstaller(t)
	i.dest += " of a person" // blanks are nothing special
	i.builtByHand("knock", "knockd")
	for _, path := range []string{"man/man1/knock.1", "man/man8/knockd.8", "bash-completion/completions/knock", "zsh/site-functions/_knockd"} {
		i.write(i.bin+"/share/"+path, "of version 1: "+path+"\n", 0o644)
	}
	for path, text := range files {
		i.write(i.dest+path, text, 0o644)
	}
	return i
}

// must runs a target that ends well.
func (i *installer) must(target, prefix string, more ...string) (said string) {
	i.t.Helper()
	said, err := i.make(target, prefix, more...)
	if err != nil {
		i.t.Fatalf("make %s: %v\n%s", target, err, said)
	}
	return said
}

// texts returns all files below DESTDIR.
func (i *installer) texts() map[string]string {
	i.t.Helper()
	texts := map[string]string{}
	for path := range i.installed() {
		texts[path] = string(read(i.t, i.dest+path))
	}
	return texts
}

// unchanged fails the test unless these are all files below DESTDIR.
func (i *installer) unchanged(want map[string]string) {
	i.t.Helper()
	if got := i.texts(); !maps.Equal(got, want) {
		i.t.Errorf("there are %v, want %v", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}
}

func TestMakeInstallAndUninstallLeaveFilesOfOthers(t *testing.T) {
	for name, foreign := range map[string]map[string]string{
		"the classic client": {"/usr/bin/knock": "\x7fELF", "/usr/share/man/man1/knock.1": ".TH knock 1\n"},
		"a completion":       {"/usr/share/zsh/site-functions/_knockd": "#compdef knockd\n"},
		"a setting":          {"/usr/lib/modprobe.d/00-knockkit.conf": "options xt_recent ip_list_tot=5000\n"},
	} {
		t.Run(name, func(t *testing.T) {
			i := newInstallerAt(t, foreign)
			said := i.must("uninstall", "/usr")
			if !strings.Contains(said, "make install has put nothing below ") {
				t.Errorf("it says\n%s", said)
			}
			i.unchanged(foreign)

			said, err := i.make("install", "/usr")
			if err == nil || !strings.Contains(said, "nothing is installed: move these away, or choose another PREFIX; FORCE=1 overwrites files\n") {
				t.Errorf("it ends with %v, and says\n%s", err, said)
			}
			for path := range foreign {
				if !strings.Contains(said, i.dest+path+" was not put there by make install, or has changed since\n") {
					t.Errorf("it does not name %s\n%s", path, said)
				}
			}
			i.unchanged(foreign)

			i.must("install", "/usr", "FORCE=1")
			for path, text := range foreign {
				if i.texts()[path] == text {
					t.Errorf("FORCE=1 leaves %s", path)
				}
			}
			i.must("uninstall", "/usr")
			i.unchanged(map[string]string{})
		})
	}
}

// TestAnInstallThatEndedHalfWayIsDoneByTheNext: all sums are in the list, and what was being written
// has another name.
func TestAnInstallThatEndedHalfWayIsDoneByTheNext(t *testing.T) {
	i := newInstallerAt(t, nil)
	i.must("install", "/usr")
	want := i.texts()
	if err := os.Remove(i.dest + "/usr/bin/knockd"); err != nil {
		t.Fatal(err)
	}
	const half = "/usr/bin/knockd.knockkit-new"
	i.write(i.dest+half, "half", 0o600)
	i.must("install", "/usr")
	i.unchanged(want)
	i.write(i.dest+half, "half", 0o600)
	i.must("uninstall", "/usr")
	i.unchanged(nil)
}

func TestMakeInstallTwiceAndOfANewVersionReplacesItsOwnFiles(t *testing.T) {
	i := newInstallerAt(t, nil)
	i.must("install", "/usr/local")
	first := i.texts()
	i.must("install", "/usr/local")
	i.unchanged(first)
	i.write(i.bin+"/knock", "#!/bin/sh\nexit 8\n", 0o755)
	i.write(i.bin+"/share/man/man1/knock.1", "of version 2\n", 0o644)
	i.must("install", "/usr/local")
	if got := i.texts()["/usr/local/share/man/man1/knock.1"]; got != "of version 2\n" {
		t.Errorf("the page is %q", got)
	}
	// What is built may be gone by then.
	if err := os.RemoveAll(i.bin); err != nil {
		t.Fatal(err)
	}
	i.must("uninstall", "/usr/local")
	i.unchanged(map[string]string{})
}

func TestWhatAnOperatorEditedIsNamedAndStays(t *testing.T) {
	const unit, setting = "/usr/local/lib/systemd/system/knockd.service", "/usr/local/lib/modprobe.d/00-knockkit.conf"
	for path, edit := range map[string]func(string) string{
		unit:    func(s string) string { return strings.Replace(s, "/knockd run\n", "/knockd run --verbose\n", 1) },
		setting: func(s string) string { return strings.Replace(s, "=1000", "=5000", 1) },
	} {
		t.Run(path, func(t *testing.T) {
			i := newInstallerAt(t, nil)
			i.must("install", "/usr/local")
			edited := edit(i.texts()[path])
			i.write(i.dest+path, edited, 0o644)
			before := i.texts()
			if said, err := i.make("install", "/usr/local"); err == nil || !strings.Contains(said, i.dest+path+" was not put there") {
				t.Errorf("install ends with %v, and says\n%s", err, said)
			}
			i.unchanged(before)
			if said := i.must("uninstall", "/usr/local"); !strings.Contains(said, i.dest+path+" is left: make install has not put it there, or it has changed since\n") {
				t.Errorf("uninstall says\n%s", said)
			}
			i.unchanged(map[string]string{path: edited})
			if said, err := i.make("install", "/usr/local"); err == nil {
				t.Errorf("the next install overwrites it, and says\n%s", said)
			}
			i.unchanged(map[string]string{path: edited})
		})
	}
}

func TestMakeInstallLeavesAForeignUnitAtItsOwnPlace(t *testing.T) {
	const unit = "/usr/local/lib/systemd/system/knockd.service"
	theirs := map[string]string{unit: "[Service]\nExecStart=/usr/sbin/knockd -d\n"}
	i := newInstallerAt(t, theirs)
	if said := i.must("install", "/usr/local"); !strings.Contains(said, "the unit is left out, as it would take the place of "+i.dest+unit) {
		t.Errorf("it says\n%s", said)
	}
	if got := i.texts(); got[unit] != theirs[unit] || got["/usr/local/bin/knockd"] == "" {
		t.Errorf("there are\n%v", got)
	}
	i.must("uninstall", "/usr/local")
	i.unchanged(theirs)
}

func TestAFolderInThePlaceOfAFileIsNamedBeforeAnythingIsInstalled(t *testing.T) {
	i := newInstallerAt(t, nil)
	const folder = "/usr/local/bin/knockd"
	if err := os.MkdirAll(i.dest+folder, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, more := range [][]string{nil, {"FORCE=1"}} {
		if said, err := i.make("install", "/usr/local", more...); err == nil || !strings.Contains(said, i.dest+folder+" is a folder\n") {
			t.Errorf("it ends with %v, and says\n%s", err, said)
		}
		i.unchanged(map[string]string{})
	}
	if err := os.Remove(i.dest + folder); err != nil {
		t.Fatal(err)
	}
	i.must("install", "/usr/local")
	if err := os.Remove(i.dest + folder); err != nil {
		t.Fatal(err)
	}
	theirs := map[string]string{folder + "/notes": "mine"}
	i.write(i.dest+folder+"/notes", "mine", 0o644)
	i.must("uninstall", "/usr/local")
	i.unchanged(theirs)
}

func TestALinkInThePlaceOfAProgramIsNotFollowed(t *testing.T) {
	theirs := map[string]string{"/opt/knock": "theirs"}
	i := newInstallerAt(t, theirs)
	i.write(i.dest+"/usr/local/bin/other", "", 0o755)
	if err := os.Symlink("../../../opt/knock", i.dest+"/usr/local/bin/knock"); err != nil {
		t.Fatal(err)
	}
	if _, err := i.make("install", "/usr/local"); err == nil {
		t.Error("install takes the link for its own")
	}
	i.must("install", "/usr/local", "FORCE=1")
	if got := i.texts(); got["/opt/knock"] != "theirs" || got["/usr/local/bin/knock"] != "#!/bin/sh\nexit 9\n" {
		t.Errorf("there are\n%v", got)
	}
}

// A version that kept no list: its programs and pages are told by what is in them. A package's
// are the package manager's, whatever is in them.
func TestFilesOfAVersionWithoutAListAreReplacedUnlessAPackageHasThem(t *testing.T) {
	i := newInstaller(t)
	i.bin = makeBuild(t)
	i.must("install", "/usr")
	if err := os.RemoveAll(i.dest + "/usr/share/knockkit"); err != nil {
		t.Fatal(err)
	}
	old := i.texts()
	again := *i
	again.bin = i.dir + "/new"
	again.builtByHand("knock", "knockd")
	i.write(i.dest+"/usr/share/doc/knockkit/copyright", "of a package\n", 0o644)
	if said, err := again.make("install", "/usr"); err == nil || !strings.Contains(said, i.dest+"/usr/bin/knock was not put there") {
		t.Errorf("beside the package it ends with %v, and says\n%s", err, said)
	}
	i.must("uninstall", "/usr")
	if err := os.RemoveAll(i.dest + "/usr/share/doc"); err != nil {
		t.Fatal(err)
	}
	i.unchanged(old)
	again.must("install", "/usr")
	if got := i.texts()["/usr/bin/knock"]; got != "#!/bin/sh\nexit 9\n" {
		t.Error("the program is not replaced")
	}
	again.must("uninstall", "/usr")
	i.unchanged(map[string]string{})
}
