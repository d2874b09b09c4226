package packaging

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"knockkit/internal/lab/labtest"
)

// rootsTools are all that `make install` and `make uninstall` run.
var rootsTools = []string{"make", "sh", "install", "sed", "grep", "uname", "tr", "id", "rm", "rmdir", "mv", "cat", "cksum"}

// installer is root with a PATH on which there is no go.
type installer struct {
	t              *testing.T
	bin, dest, dir string
}

func newInstaller(t *testing.T) *installer {
	t.Helper()
	labtest.Need(t, rootsTools...)
	dir := t.TempDir()
	i := &installer{t, dir + "/bin", dir + "/dest", dir}
	if err := os.Mkdir(dir+"/path", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tool := range rootsTools {
		path, err := exec.LookPath(tool)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, dir+"/path/"+tool); err != nil {
			t.Fatal(err)
		}
	}
	// The Makefile searches the folders of system tools too: a go there is not found either.
	i.write(dir+"/path/go", "#!/bin/sh\ntouch "+dir+"/go-was-asked\nexit 127\n", 0o755)
	return i
}

func (i *installer) write(file, text string, mode fs.FileMode) {
	i.t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		i.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), mode); err != nil {
		i.t.Fatal(err)
	}
}

// makeBuild returns a folder with what `make build` makes, for a person who has Go.
func makeBuild(t *testing.T) string {
	t.Helper()
	labtest.Need(t, "make", "go")
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "make", "build", "BIN="+dir)
	cmd.Dir = ".."
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make build: %v\n%s", err, out)
	}
	return dir
}

// builtByHand puts something in the place of programs.
func (i *installer) builtByHand(programs ...string) {
	i.t.Helper()
	for _, p := range programs {
		i.write(i.bin+"/"+p, "#!/bin/sh\nexit 9\n", 0o755)
	}
}

// make runs a target of the Makefile, and returns what it says and how it ends.
func (i *installer) make(target, prefix string, more ...string) (said string, err error) {
	i.t.Helper()
	args := append([]string{target, "BIN=" + i.bin, "DESTDIR=" + i.dest, "PREFIX=" + prefix}, more...)
	cmd := exec.CommandContext(i.t.Context(), i.dir+"/path/make", args...)
	cmd.Dir = ".."
	cmd.Env = []string{"PATH=" + i.dir + "/path"}
	out, err := cmd.CombinedOutput()
	if _, asked := os.Stat(i.dir + "/go-was-asked"); asked == nil {
		i.t.Errorf("make %s has asked go", target)
	}
	return string(out), err
}

// installed returns the modes of all files below DESTDIR.
func (i *installer) installed() map[string]string {
	i.t.Helper()
	modes := map[string]string{}
	err := filepath.WalkDir(i.dest, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		modes[strings.TrimPrefix(path, i.dest)] = fmt.Sprintf("%o", info.Mode().Perm())
		return err
	})
	if err != nil && !os.IsNotExist(err) {
		i.t.Fatal(err)
	}
	return modes
}

func TestMakeInstallNeedsNoGoAndMakeUninstallLeavesNothing(t *testing.T) {
	built := makeBuild(t)
	for _, prefix := range []string{"/usr/local", "/usr", "/opt/knockkit-1.0/"} {
		t.Run(prefix, func(t *testing.T) {
			i := newInstaller(t)
			i.bin = built
			if said, err := i.make("install", prefix); err != nil {
				t.Fatalf("%v\n%s", err, said)
			}
			p := strings.TrimSuffix(prefix, "/")
			want := map[string]string{p + "/lib/systemd/system/knockd.service": "644", p + "/lib/modprobe.d/00-knockkit.conf": "644", p + "/share/knockkit/installed": "644", p + "/libexec/knockkit/knockd-fleet": "755"}
			for program, page := range map[string]string{"knock": "man1/knock.1", "knockd": "man8/knockd.8"} {
				want[p+"/bin/"+program] = "755"
				for _, path := range []string{"man/" + page, "bash-completion/completions/" + program, "fish/vendor_completions.d/" + program + ".fish", "zsh/site-functions/_" + program} {
					want[p+"/share/"+path] = "644"
				}
			}
			if got := i.installed(); !maps.Equal(got, want) {
				t.Errorf("installed are\n%v, want\n%v", got, want)
			}
			unit := string(read(t, i.dest+p+"/lib/systemd/system/knockd.service"))
			if !strings.Contains(unit, "\nExecStart="+p+"/bin/knockd run\n") || strings.Contains(unit, "/usr/share/doc") {
				t.Errorf("the unit has paths of the package:\n%s", unit)
			}
			if said, err := i.make("uninstall", prefix); err != nil {
				t.Fatalf("%v\n%s", err, said)
			}
			if left := i.installed(); len(left) > 0 {
				t.Errorf("these are left: %v", slices.Sorted(maps.Keys(left)))
			}
		})
	}
}

func TestMakeBuildWritesPagesAndCompletionsOfItsPrograms(t *testing.T) {
	built := makeBuild(t)
	for program, page := range map[string]string{"knock": "man1/knock.1", "knockd": "man8/knockd.8"} {
		if text := string(read(t, built+"/share/man/"+page)); !strings.HasPrefix(text, ".TH ") && !strings.Contains(text, "\n.TH ") {
			t.Errorf("%s is no manual page:\n%s", page, text)
		}
		for shell, path := range map[string]string{"bash": "bash-completion/completions/" + program, "fish": "fish/vendor_completions.d/" + program + ".fish", "zsh": "zsh/site-functions/_" + program} {
			want, err := exec.CommandContext(t.Context(), built+"/"+program, "completion", shell).Output()
			if err != nil || len(want) == 0 {
				t.Fatalf("%s has no completion for %s (%v)", program, shell, err)
			}
			if got := string(read(t, built+"/share/"+path)); got != string(want) {
				t.Errorf("%s is\n%s\nand %s says\n%s", path, got, program, want)
			}
		}
	}
}

func TestMakeInstallRefusesAndChangesNothing(t *testing.T) {
	for _, c := range []struct {
		name, prefix string
		built        []string
		says         string
	}{
		{"nothing was built", "/usr/local", nil, "/bin/knock is missing: run make build first\n"},
		{"knockd was not built", "/usr/local", []string{"knock"}, "/bin/knockd is missing: run make build first\n"},
		{"PREFIX is relative", "local", []string{"knock", "knockd"}, "PREFIX=local is no absolute path: write PREFIX=/"},
		{"PREFIX cannot stand in a unit", "/opt/my programs", []string{"knock", "knockd"}, "PREFIX=/opt/my programs: letters, digits and"},
	} {
		t.Run(c.name, func(t *testing.T) {
			i := newInstaller(t)
			i.builtByHand(c.built...)
			said, err := i.make("install", c.prefix)
			if err == nil || !strings.Contains(said, c.says) {
				t.Errorf("it ends with %v, want %q, and says\n%s", err, c.says, said)
			}
			if got := i.installed(); len(got) > 0 {
				t.Errorf("installed are %v", got)
			}
		})
	}
}

// TestMakeInstallLeavesTheClassicDaemonItsUnit: systemd would run ours in its place,
// as /usr/local comes first, and it may be somebody's only way in.
func TestMakeInstallLeavesTheClassicDaemonItsUnit(t *testing.T) {
	for _, c := range []struct{ prefix, theirs string }{
		{"/usr/local", "/lib/systemd/system/knockd.service"},
		{"/usr/local", "/etc/systemd/system/knockd.service"},
		{"/usr", "/usr/lib/systemd/system/knockd.service"},
	} {
		t.Run(c.prefix+" beside "+c.theirs, func(t *testing.T) {
			i := newInstaller(t)
			i.builtByHand("knock", "knockd")
			const classic = "[Service]\nExecStart=/usr/sbin/knockd $KNOCKD_OPTS\n"
			i.write(i.dest+c.theirs, classic, 0o644)
			said, err := i.make("install", c.prefix)
			if err != nil || !strings.Contains(said, "the unit is left out, as it would take the place of "+i.dest+c.theirs) {
				t.Fatalf("%v\n%s", err, said)
			}
			const ours = "/usr/local/lib/systemd/system/knockd.service"
			if got := i.installed(); got[ours] != "" || got[c.prefix+"/bin/knockd"] != "755" {
				t.Errorf("installed are %v", got)
			}
			if said, err := i.make("uninstall", c.prefix); err != nil {
				t.Fatalf("%v\n%s", err, said)
			}
			if got := i.installed(); len(got) != 1 || string(read(t, i.dest+c.theirs)) != classic {
				t.Errorf("left are %v, want the classic unit", got)
			}
		})
	}
}

func TestMakeInstallReplacesAUnitOfOurs(t *testing.T) {
	i := newInstaller(t)
	i.builtByHand("knock", "knockd")
	i.write(i.dest+"/lib/systemd/system/knockd.service", string(read(t, unitFile)), 0o644) // of the package
	for range 2 {
		if said, err := i.make("install", "/usr/local"); err != nil || strings.Contains(said, "unit is left out") {
			t.Fatalf("%v\n%s", err, said)
		}
	}
}
