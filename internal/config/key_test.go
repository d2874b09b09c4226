package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"knockkit/internal/files"
	"knockkit/protocol"
	"knockkit/protocol/format"
)

// keyIn writes a key of the user for the client's profile "ssh" into a configuration folder.
func keyIn(t *testing.T, dir, user string, mode os.FileMode) string {
	t.Helper()
	k := &format.KeyFile{Key: protocol.Key{Profile: "admin", User: user, Audience: "db1"}}
	file := filepath.Join(dir, "keys", "ssh.key")
	if err := errors.Join(files.Write(file, format.KeyFileText(k), true), os.Chmod(file, mode)); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestTheKeyOfAProfileIsInTheFirstFolderThatHasOne(t *testing.T) {
	own, machine := t.TempDir(), t.TempDir()
	f := Folders{Dirs: []string{own, machine}}
	e, err := f.Key("ssh")
	if !errors.Is(err, fs.ErrNotExist) || e.File != f.NewKeyFile("ssh") || e.File != filepath.Join(own, "keys", "ssh.key") {
		t.Errorf("%s, error %v, want none there", e.File, err)
	}
	keyIn(t, machine, "all", 0o600)
	if e, err = f.Key("ssh"); err != nil || e.User != "all" || e.Profile != "admin" {
		t.Errorf("%+v, error %v", e, err)
	}
	keyIn(t, own, "alice", 0o600)
	if e, err = f.Key("ssh"); err != nil || e.User != "alice" || e.File != f.NewKeyFile("ssh") {
		t.Errorf("%+v, error %v", e, err)
	}
}

func TestAKeyIsGuardedAsAProfileIs(t *testing.T) {
	dir, err := os.MkdirTemp("/tmp", "keys") // where all can reach what the test makes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	file := keyIn(t, dir, "alice", 0o644)
	if err := errors.Join(os.Chmod(dir, 0o755), os.Chmod(filepath.Dir(file), 0o755)); err != nil {
		t.Fatal(err)
	}
	own, machine, lax := Folders{Dirs: []string{dir}}, Folders{Dirs: []string{t.TempDir(), dir}}, Folders{Dirs: []string{dir}, Lax: true}
	for _, c := range []struct {
		name              string
		f                 Folders
		mode              os.FileMode
		readable, exposed bool // exposed: an error, unless the folder is lax
	}{
		{"the user's own", own, 0o600, false, false},
		{"readable by all", own, 0o644, true, false},
		{"of the machine, which is for all", machine, 0o644, false, false},
		{"as it was checked out", lax, 0o644, false, false},
		{"writable by all", own, 0o666, false, true},
		{"checked out, and writable by all", lax, 0o666, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := os.Chmod(file, c.mode); err != nil {
				t.Fatal(err)
			}
			e, err := c.f.Key("ssh")
			if c.f.Lax && err == nil {
				err = e.Exposed
			} else if e.Exposed != nil {
				t.Errorf("exposed: %v", e.Exposed)
			}
			if exposed := new(files.ExposedError); errors.As(err, &exposed) != c.exposed || err != nil && !c.exposed || e.Readable != c.readable {
				t.Errorf("readable %v, error %v", e.Readable, err)
			}
			if used := e.KeyFile != nil; used != (c.f.Lax || !c.exposed) {
				t.Errorf("it is used: %v", used)
			}
		})
	}
}

func TestAKeyThatCannotBeReadSaysWhoseItIs(t *testing.T) {
	dir := t.TempDir()
	f := Folders{Dirs: []string{dir}}
	if err := files.Write(f.NewKeyFile("ssh"), []byte("user = \"alice\"\n"), false); err != nil {
		t.Fatal(err)
	}
	_, err := f.Key("ssh")
	if broken := new(BrokenError); !errors.As(err, &broken) || err.Error() != "the key of profile ssh has 3 errors" {
		t.Errorf("error %v", err)
	}
}

func TestTheFolderOfKeysMustNotBeWritableByOthers(t *testing.T) {
	dir := t.TempDir()
	f := Folders{Dirs: []string{dir}}
	if err := f.CheckKeys(); err != nil {
		t.Errorf("one that is not there: %v", err)
	}
	keys := filepath.Dir(keyIn(t, dir, "alice", 0o600))
	if err := f.CheckKeys(); err != nil {
		t.Error(err)
	}
	if err := os.Chmod(keys, 0o777); err != nil {
		t.Fatal(err)
	}
	if exposed := new(files.ExposedError); !errors.As(f.CheckKeys(), &exposed) || exposed.Path != keys {
		t.Errorf("error %v, want one about %s", f.CheckKeys(), keys)
	}
}
