package files_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"knockkit/internal/files"
	"knockkit/internal/lab/labtest"
)

// soon is how long anything here may take that must not wait.
const soon = 20 * time.Second

// within fails unless f ends soon.
func within(t *testing.T, f func() ([]byte, error)) (string, error) {
	t.Helper()
	type result struct {
		text []byte
		err  error
	}
	ended := make(chan result, 1)
	go func() {
		text, err := f()
		ended <- result{text, err}
	}()
	select {
	case r := <-ended:
		return string(r.text), r.err
	case <-time.After(soon):
		t.Fatal("it waits")
		return "", nil
	}
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chmod(path, mode)); err != nil {
		t.Fatal(err)
	}
}

func TestAFileIsReadWholeAndOnlyIfItIsOne(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	write(t, at("file"), "12345", 0o600)
	if err := errors.Join(syscall.Mkfifo(at("pipe"), 0o600), os.Mkdir(at("folder"), 0o700), os.Symlink("pipe", at("link"))); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, path, err string }{
		{"a file", at("file"), ""},
		{"a pipe that nobody writes to", at("pipe"), "it is a pipe"},
		{"a link to one", at("link"), "it is a pipe"},
		{"a folder", at("folder"), "it is a folder"},
		{"a device", "/dev/zero", "it is a device"},
		{"a terminal", "/dev/ptmx", "it is a device"},
		{"nothing", at("missing"), "open " + at("missing") + ": no such file"},
		{"a file of the kernel's that is larger than any", "/proc/kcore", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			text, err := within(t, func() ([]byte, error) { return files.Read(c.path, 5) })
			switch {
			case c.path == "/proc/kcore":
				if err == nil {
					t.Errorf("read %q", text)
				}
			case c.err == "" && (err != nil || text != "12345"):
				t.Errorf("%q, error %v", text, err)
			case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
				t.Errorf("error %v, want %q", err, c.err)
			}
		})
	}
	if _, err := files.Read(at("file"), 4); err == nil || !strings.Contains(err.Error(), "more than 4 bytes") {
		t.Errorf("more than is read: error %v", err)
	}
}

// A shell's <(COMMAND) is a pipe by this name.
func TestAPipeThatTheShellHandsOverIsReadToItsEnd(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	path := fmt.Sprintf("/dev/fd/%d", r.Fd())
	go func() {
		defer w.Close()
		for range 3 {
			fmt.Fprint(w, "a piece ")
			time.Sleep(20 * time.Millisecond) // as a slow command
		}
	}()
	text, err := within(t, func() ([]byte, error) { return files.Input(t.Context(), path, 100) })
	if err != nil || text != "a piece a piece a piece " {
		t.Errorf("%q, error %v", text, err)
	}
	r2, w2, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r2.Close()
	defer w2.Close() // that never ends
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = within(t, func() ([]byte, error) { return files.Input(ctx, fmt.Sprintf("/proc/self/fd/%d", r2.Fd()), 100) })
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want that of the context", err)
	}
}

// TestWhoElseCanWriteAFile is a table of files, folders above them, and links.
func TestWhoElseCanWriteAFile(t *testing.T) {
	labtest.NeedRoot(t)
	const (
		somebody  = 12345
		elsewhere = "choose a folder of root's with --config DIR, or run it without sudo"
	)
	for _, c := range []struct {
		name    string
		change  func(dir, file string) error
		exposed string // by what
		todo    string
	}{
		{"root's alone", func(dir, file string) error { return nil }, "", ""},
		{"readable by all", func(dir, file string) error { return os.Chmod(file, 0o644) }, "", ""},
		{"its group's", func(dir, file string) error { return os.Chmod(file, 0o660) }, "file", "chmod go-w PATH"},
		{"everybody's", func(dir, file string) error { return os.Chmod(file, 0o602) }, "file", "chmod go-w PATH"},
		{"of somebody else", func(dir, file string) error { return os.Chown(file, somebody, somebody) }, "file", "chown root PATH"},
		{"in a folder of its group's", func(dir, file string) error { return os.Chmod(dir, 0o770) }, "dir", "chmod go-w PATH"},
		{"in a folder of everybody's", func(dir, file string) error { return os.Chmod(dir, 0o777) }, "dir", "chmod go-w PATH"},
		{"in a sticky folder, as /tmp", func(dir, file string) error { return os.Chmod(dir, os.ModeSticky|0o777) }, "", ""},
		{"in a sticky folder of somebody else's", func(dir, file string) error {
			return errors.Join(os.Chmod(dir, os.ModeSticky|0o777), os.Chown(dir, somebody, somebody))
		}, "dir", elsewhere},
		{"in a folder of somebody else's", func(dir, file string) error { return os.Chown(dir, somebody, somebody) }, "dir", elsewhere},
		{"a link to a file of root's", func(dir, file string) error {
			return errors.Join(os.Rename(file, dir+"/real"), os.Symlink("../"+filepath.Base(dir)+"/real", file))
		}, "", ""},
		{"a link to a file of everybody's", func(dir, file string) error {
			return errors.Join(os.Rename(file, dir+"/real"), os.Chmod(dir+"/real", 0o666), os.Symlink(dir+"/real", file))
		}, "dir/real", "chmod go-w PATH"},
		{"a link through a folder of everybody's", func(dir, file string) error {
			return errors.Join(os.Mkdir(dir+"/open", 0o700), os.Chmod(dir+"/open", 0o777), os.Rename(file, dir+"/real"),
				os.Symlink(dir+"/real", dir+"/open/link"), os.Symlink("open/link", file))
		}, "dir/open", "chmod go-w PATH"},
		{"a link of somebody else's", func(dir, file string) error {
			return errors.Join(os.Rename(file, dir+"/real"), os.Symlink("real", file), os.Lchown(file, somebody, somebody))
		}, "file", "chown -h root PATH"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "dir")
			file := filepath.Join(dir, "file")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			write(t, file, "", 0o600)
			if err := c.change(dir, file); err != nil {
				t.Fatal(err)
			}
			path := strings.NewReplacer("dir", dir, "file", file).Replace(c.exposed)
			_, err := files.Check(file)
			var exposed *files.ExposedError
			switch {
			case c.exposed == "" && err != nil:
				t.Error(err)
			case c.exposed != "" && (!errors.As(err, &exposed) || exposed.Path != path || exposed.Todo != strings.Replace(c.todo, "PATH", path, 1)):
				t.Errorf("error %v, %#v, want one about %s and %s", err, exposed, path, c.todo)
			}
		})
	}
}

func TestLinksThatGoInACircleEnd(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(os.Symlink("b", dir+"/a"), os.Symlink("a", dir+"/b")); err != nil {
		t.Fatal(err)
	}
	if _, err := files.Check(dir + "/a"); !errors.Is(err, unix.ELOOP) {
		t.Errorf("error %v", err)
	}
}

func TestBehindAFileThereIsNothing(t *testing.T) {
	if _, err := files.Check("/dev/null/state/leases"); !errors.Is(err, unix.ENOTDIR) || !strings.Contains(err.Error(), " /dev/null:") {
		t.Errorf("error %v", err)
	}
}

func TestAllCanReadAFileOnlyWhereTheyCanReachIt(t *testing.T) {
	dir, err := os.MkdirTemp("/tmp", "files") // where all can reach what the test makes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	write(t, dir+"/file", "", 0o644)
	for mode, want := range map[os.FileMode]bool{0o755: true, 0o711: true, 0o700: false} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		if readable, err := files.Check(dir + "/file"); err != nil || readable != want {
			t.Errorf("in a folder of mode %o: %v, error %v, want %v", mode, readable, err, want)
		}
	}
}

// TestWhatCannotBeWrittenIsNamedAndNotTheFileBesideIt: a service that tries again says the same once.
func TestWhatCannotBeWrittenIsNamedAndNotTheFileBesideIt(t *testing.T) {
	dir := t.TempDir()
	for what, path := range map[string]string{
		"a name that is too long": filepath.Join(dir, strings.Repeat("x", 300)),
		"a folder of the kernel":  "/proc/self/state",
		"a folder":                dir,
	} {
		first, again := files.WriteState(path, nil), files.WriteState(path, nil)
		if first == nil || again == nil || first.Error() != again.Error() || !strings.Contains(first.Error(), " "+path+": ") {
			t.Errorf("%s: errors %v, %v", what, first, again)
		}
	}
	if err := files.Write(dir, nil, false); !errors.Is(err, fs.ErrExist) {
		t.Errorf("what is there: error %v", err)
	}
}
