package keys

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"knockkit/internal/files"
	"knockkit/protocol/format"
)

var now = time.Date(2027, 1, 2, 3, 4, 5, 6, time.UTC)

func TestKeysAreListedByProfileUserAndAge(t *testing.T) {
	f := FolderOf(t.TempDir())
	if all, broken, err := f.List(); len(all)+len(broken) > 0 || err != nil {
		t.Errorf("a folder without keys: %v, %v, %v", all, broken, err)
	}
	var want []string
	for i, k := range []struct{ profile, user string }{{"admin", "alice"}, {"admin", "alice"}, {"admin", "bob"}, {"web", "alice"}} {
		e, err := f.Add(New(k.profile, k.user, "db1", now.Add(time.Duration(i)*time.Second), time.Time{}))
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, e.File)
		if info, err := os.Stat(e.File); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, error %v", e.File, info.Mode(), err)
		}
	}
	if want[1] == want[0] || filepath.Base(want[0]) != "alice.key" {
		t.Errorf("the files of two keys of a user: %s and %s", want[0], want[1])
	}
	all, broken, err := f.List()
	if err != nil || len(broken) > 0 {
		t.Fatal(err, broken)
	}
	var got []string
	for _, e := range all {
		got = append(got, e.File)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if n := len(Of(all, "admin", "alice")); n != 2 {
		t.Errorf("alice has %d keys for admin, not 2", n)
	}
}

func TestAKeyThatCannotBeTrustedIsNamedAndLeftOut(t *testing.T) {
	f := FolderOf(t.TempDir())
	for what, spoil := range map[string]func(Entry) error{
		"can be read by others":  func(e Entry) error { return os.Chmod(e.File, 0o640) },
		"the key's file has no":  func(e Entry) error { return os.WriteFile(e.File, []byte("user = \"alice\"\n"), 0o600) },
		"its place is admin/bob": func(e Entry) error { return rewrite(e, func(k *format.KeyFile) { k.User = "bob" }) },
		"its place is web/alice": func(e Entry) error { return rewrite(e, func(k *format.KeyFile) { k.Profile = "web" }) },
	} {
		e, err := f.Add(New("admin", "alice", "db1", now, time.Time{}))
		if err == nil {
			err = spoil(e)
		}
		if err != nil {
			t.Fatal(err)
		}
		all, broken, err := f.List()
		if err != nil || len(all) > 0 || len(broken) != 1 || !strings.Contains(broken[0].Error(), what) || !strings.Contains(broken[0].Error(), e.File) {
			t.Errorf("%s: keys %v, broken %v, error %v", what, all, broken, err)
		}
		if err := os.RemoveAll(filepath.Dir(e.File)); err != nil {
			t.Error(err)
		}
	}
	if exposed := new(files.ExposedError); !errors.As(&BrokenError{"x", &files.ExposedError{}}, &exposed) {
		t.Error("the reason of a broken key cannot be asked for")
	}
}

// rewrite writes a key with something else in it.
func rewrite(e Entry, change func(*format.KeyFile)) error {
	k := *e.KeyFile
	change(&k)
	return os.WriteFile(e.File, format.KeyFileText(&k), 0o600)
}

func TestACopyOfAKeyForAnotherUserIsLeftOut(t *testing.T) {
	f := FolderOf(t.TempDir())
	e, err := f.Add(New("admin", "alice", "db1", now, time.Time{}))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, user, wrong string }{{"bob.key", "bob", "it is a copy of " + e.File}, {"alice.2.key", "alice", ""}} {
		copied := Entry{filepath.Join(f.Dir, "admin", c.name), e.KeyFile}
		if err := rewrite(copied, func(k *format.KeyFile) { k.User = c.user }); err != nil {
			t.Fatal(err)
		}
		all, broken, err := f.List()
		switch {
		case err != nil || len(all)+len(broken) != 2:
			t.Errorf("%s: keys %v, broken %v, error %v", c.name, all, broken, err)
		case c.wrong != "" && (len(broken) != 1 || !strings.Contains(broken[0].Error(), c.wrong)), c.wrong == "" && len(broken) > 0:
			t.Errorf("%s: broken %v, want %q", c.name, broken, c.wrong)
		}
		if err := os.Remove(copied.File); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTheFolderOfAProfilesKeysMayBeALink(t *testing.T) {
	f := FolderOf(t.TempDir())
	elsewhere := t.TempDir()
	if err := errors.Join(os.Chmod(elsewhere, 0o700), os.Mkdir(f.Dir, 0o700), os.Symlink(elsewhere, filepath.Join(f.Dir, "admin"))); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Add(New("admin", "alice", "db1", now, time.Time{})); err != nil {
		t.Fatal(err)
	}
	if all, broken, err := f.List(); len(all) != 1 || len(broken) > 0 || err != nil {
		t.Errorf("keys %v, broken %v, error %v", all, broken, err)
	}
}

// TestAChangeUndoesNoneOfAnotherCommand: both have listed the key before.
func TestAChangeUndoesNoneOfAnotherCommand(t *testing.T) {
	f := FolderOf(t.TempDir())
	if _, err := f.Add(New("admin", "alice", "db1", now, time.Time{})); err != nil {
		t.Fatal(err)
	}
	list := func() Entry {
		all, _, err := f.List()
		if err != nil || len(all) != 1 {
			t.Fatal(all, err)
		}
		return all[0]
	}
	expires := func(k *format.KeyFile) bool { k.Expires = now; return true }
	one, other := list(), list()
	if changed, err := f.Change(one, func(k *format.KeyFile) bool { k.Disabled = true; return true }); !changed || err != nil {
		t.Fatal(changed, err)
	}
	if changed, err := f.Change(other, expires); !changed || err != nil || !list().Disabled || !other.Disabled {
		t.Errorf("changed: %v, error %v; the key that was disabled: %+v", changed, err, list().KeyFile)
	}
	if err := f.Remove(one); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Dir(one.File)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder of a profile without keys is left: %v", err)
	}
	if changed, err := f.Change(other, expires); changed || !errors.Is(err, ErrGone) {
		t.Errorf("a removed key is changed: %v, error %v", changed, err)
	}
	if _, err := f.Add(New("admin", "alice", "db1", now, time.Time{})); err != nil {
		t.Fatal(err)
	}
	if err := f.Remove(other); !errors.Is(err, ErrGone) || list().ID() == other.ID() {
		t.Errorf("in place of a removed key another is: error %v", err)
	}
}

// TestAKeyIsAddedWhileAnotherCommandTakesTheLastOneAway: the folder goes with the last one.
func TestAKeyIsAddedWhileAnotherCommandTakesTheLastOneAway(t *testing.T) {
	f := FolderOf(t.TempDir())
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 100 {
				e, err := f.Add(New("admin", "alice", "db1", now, time.Time{}))
				if err == nil {
					err = f.Remove(e)
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}

func TestNothingIsWrittenIntoAFolderThatOthersCanWrite(t *testing.T) {
	for what, exposed := range map[string]func(Folder) string{
		"the keys":           func(f Folder) string { return f.Dir },
		"those of a profile": func(f Folder) string { return filepath.Join(f.Dir, "admin") },
	} {
		f := FolderOf(t.TempDir())
		dir := exposed(f)
		if err := errors.Join(os.MkdirAll(dir, 0o700), os.Chmod(dir, 0o777)); err != nil {
			t.Fatal(err)
		}
		_, err := f.Add(New("admin", "alice", "db1", now, time.Time{}))
		if wrong := new(files.ExposedError); !errors.As(err, &wrong) || wrong.Path != dir {
			t.Errorf("%s: error %v", what, err)
		}
		if all, broken, err := f.List(); len(all)+len(broken) > 0 || err != nil {
			t.Errorf("%s: keys %v, broken %v, error %v", what, all, broken, err)
		}
	}
	s := Store{t.TempDir()}
	if err := os.Chmod(s.Dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := s.Record(7); !errors.As(err, new(*files.ExposedError)) {
		t.Errorf("the state: error %v", err)
	}
	if left, err := os.ReadDir(s.Dir); len(left) > 0 || err != nil {
		t.Errorf("the state: left %v, error %v", left, err)
	}
}

// TestNobodyElseCanHoldALock: who can read a file can lock it, and all commands would wait for him.
func TestNobodyElseCanHoldALock(t *testing.T) {
	path := filepath.Join(t.TempDir(), ".lock")
	for _, before := range []string{"none", "one that all can read"} {
		unlock, err := lock(path)
		if err != nil {
			t.Fatal(err)
		}
		unlock()
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, error %v", before, info.Mode(), err)
		}
		if err := os.Chmod(path, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Remove(path), os.Symlink("elsewhere", path)); err != nil {
		t.Fatal(err)
	}
	if _, err := lock(path); !errors.Is(err, unix.ELOOP) {
		t.Errorf("a link: error %v", err)
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(path), "elsewhere")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file is made behind a link: error %v", err)
	}
}

func TestTheStateRemembersWhatIsLater(t *testing.T) {
	s := Store{filepath.Join(t.TempDir(), "state")}
	if slot, err := s.Highest(); slot != 0 || err != nil {
		t.Errorf("without a file: slot %d, error %v", slot, err)
	}
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			if err := s.Record(int64(100 + i)); err != nil {
				t.Error(err)
			}
			if err := s.Used(map[string]Use{"1f2e3d4c": {At: now.Add(time.Duration(i) * time.Second), From: "198.51.100.7"}}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if slot, err := s.Highest(); slot != 119 || err != nil {
		t.Errorf("slot %d, error %v, want 119", slot, err)
	}
	uses, err := s.LastUses()
	if diff := cmp.Diff(map[string]Use{"1f2e3d4c": {At: now.Add(19 * time.Second), From: "198.51.100.7"}}, uses); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if err := s.Forget(map[string]bool{}); err != nil {
		t.Error(err)
	}
	if uses, _ := s.LastUses(); len(uses) > 0 {
		t.Errorf("left: %v", uses)
	}
}

func TestABrokenStateIsAnErrorAndStays(t *testing.T) {
	s := Store{t.TempDir()}
	for _, text := range []string{"", "{", `{"slot": -1}`, `{"slot": 9223372036854775807}`, `{"slot": 9223372036854775808}`, `{"slot": 1.5}`, `{"slot": "7"}`} {
		if err := os.WriteFile(s.File(), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if slot, err := s.Highest(); slot != 0 || err == nil || !strings.Contains(err.Error(), s.File()) {
			t.Errorf("%q: slot %d, error %v", text, slot, err)
		}
		if err := s.Record(7); err == nil {
			t.Errorf("%q is written over", text)
		}
	}
}

func TestTheStateFolderIsTheOneThatIsNamed(t *testing.T) {
	env := map[string]string{}
	getenv := func(name string) string { return env[name] }
	for _, c := range []struct{ set, config, want string }{
		{"", "/etc/knockd", "/var/lib/knockd"},
		{"", "/srv/knock", "/srv/knock/state"},
		{"STATE_DIRECTORY", "/etc/knockd", "/named"},
		{"KNOCKD_STATE", "/srv/knock", "/named"},
	} {
		clear(env)
		env[c.set] = "/named"
		if got := StoreOf(c.config, getenv).Dir; got != c.want {
			t.Errorf("%s, with %s: %s, not %s", c.config, c.set, got, c.want)
		}
	}
}
