package packaging

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"knockkit/internal/command"
	"knockkit/internal/lab/labtest"
)

// built are the packages of two releases.
type built struct{ old, new release }

type release struct{ version, deb, rpm string }

// TestPackages builds them once, as people do.
func TestPackages(t *testing.T) {
	labtest.NeedRoot(t) // for nearly all of it, and nfpm is built first: minutes on a laptop
	labtest.Need(t, "make", "go", "gzip")
	b := built{makePackages(t, command.Version), makePackages(t, "99.0.0", "VERSION=99.0.0")}
	t.Run("lintian finds no error", func(t *testing.T) {
		t.Parallel()
		lintianFindsNoError(t, b.old)
	})
	t.Run("the RPM holds what the Debian package holds", func(t *testing.T) { bothHoldTheSame(t, b.old) })
	t.Run("a Debian package comes, is upgraded and goes", func(t *testing.T) {
		t.Parallel()
		m := newMachine(t)
		classicIsNotTakenAway(m, b.old.deb)
		fresh := m.files()
		live(m, apt(m), b)
		m.Inside("install", "-D", "-m", "600", "/dev/null", "/var/lib/knockd/signed.json")
		m.types("purge", b.new)
		m.leftBehind(fresh)
	})
	t.Run("an RPM comes, is upgraded and goes", func(t *testing.T) {
		t.Parallel()
		m := newMachine(t)
		m.Inside("dpkg", "--purge", "knockd")
		live(m, rpm(m), b)
	})
	t.Run("with systemd an upgrade starts the service anew", func(t *testing.T) {
		t.Parallel()
		upgradesUnderSystemd(newMachine(t), b)
	})
	t.Run("xt_recent is loaded with room for many addresses, where it is a module", func(t *testing.T) {
		t.Parallel()
		loadsWithRoom(t, b.old.deb)
	})
	t.Run("a Debian package goes where it may not touch rules", func(t *testing.T) {
		t.Parallel()
		goesWithoutPrivilege(newMachine(t), b.old.deb)
	})
}

// makePackages runs `make package`, from which packages of that version come.
func makePackages(t *testing.T, version string, args ...string) release {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "make", append([]string{"package", "DIST=" + dir}, args...)...)
	cmd.Dir = ".."
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make package: %v\n%s", err, out)
	}
	one := func(pattern string) string {
		files, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil || len(files) != 1 {
			t.Fatalf("make package made %v, want one %s (%v)", files, pattern, err)
		}
		return files[0]
	}
	return release{version, one("knockkit_" + version + "-1_*.deb"), one("knockkit-" + version + "-1.*.rpm")}
}

// lintianFindsNoError has lintian look at manual pages, scripts, modes and the rest.
// What is overridden says why, in packaging/lintian-overrides.
func lintianFindsNoError(t *testing.T, r release) {
	labtest.Need(t, "lintian", "man")
	out, err := exec.CommandContext(t.Context(), "lintian", "--fail-on", "error", r.deb).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func bothHoldTheSame(t *testing.T, r release) {
	labtest.Need(t, "dpkg-deb", "rpm")
	list := func(name string, args ...string) map[string]string {
		out, err := exec.CommandContext(t.Context(), name, args...).Output()
		if err != nil {
			t.Fatal(err)
		}
		modes := map[string]string{}
		for line := range strings.Lines(string(out)) {
			f := strings.Fields(line)
			path := strings.TrimSuffix(strings.TrimPrefix(f[len(f)-1], "."), "/")
			if !strings.HasPrefix(f[0], "d") || strings.HasPrefix(path, "/etc/knockd") { // RPM lists no folders of others
				modes[path] = f[0]
			}
		}
		return modes
	}
	deb, rpm := list("dpkg-deb", "--contents", r.deb), list("rpm", "-qplv", r.rpm)
	// Each has its own of these.
	for _, path := range []string{
		"/usr/share/zsh/vendor-completions/_knock", "/usr/share/zsh/vendor-completions/_knockd", "/usr/share/lintian/overrides/knockkit",
		"/usr/share/doc/knockkit/changelog.gz", "/usr/share/doc/knockkit/changelog.Debian.gz",
	} {
		if deb[path] == "" {
			t.Errorf("the Debian package lacks %s", path)
		}
		delete(deb, path)
	}
	for _, path := range []string{"/usr/share/zsh/site-functions/_knock", "/usr/share/zsh/site-functions/_knockd", "/usr/share/doc/knockkit/CHANGELOG.md"} {
		if rpm[path] == "" {
			t.Errorf("the RPM lacks %s", path)
		}
		delete(rpm, path)
	}
	for path, mode := range deb {
		if rpm[path] != mode {
			t.Errorf("%s: %q in the RPM, %q in the Debian package", path, rpm[path], mode)
		}
	}
	if len(rpm) != len(deb) {
		t.Errorf("the RPM has %d files, the Debian package %d", len(rpm), len(deb))
	}
	pages, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for path, mode := range map[string]string{
		"/usr/sbin/knockd": "-rwxr-xr-x", "/usr/bin/knock": "-rwxr-xr-x", "/usr/lib/systemd/system/knockd.service": "-rw-r--r--",
		"/usr/lib/modprobe.d/00-knockkit.conf": "-rw-r--r--", "/usr/libexec/knockkit/knockd-fleet": "-rwxr-xr-x",
		"/etc/knockd": "drwx------", "/etc/knockd/profiles": "drwx------",
		"/usr/share/man/man8/knockd.8.gz": "-rw-r--r--", "/usr/share/man/man1/knock.1.gz": "-rw-r--r--",
	} {
		if deb[path] != mode {
			t.Errorf("%s has mode %q, want %s", path, deb[path], mode)
		}
	}
	for _, page := range pages {
		if deb["/usr/share/doc/knockkit/docs/"+filepath.Base(page)] == "" {
			t.Errorf("%s is in no package", page)
		}
	}
}
