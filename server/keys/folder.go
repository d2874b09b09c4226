package keys

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"knockkit/internal/files"
	"knockkit/protocol"
	"knockkit/protocol/format"
)

// Folder is the keys of a configuration folder.
type Folder struct{ Dir string }

// FolderOf returns the keys of a configuration folder.
func FolderOf(config string) Folder { return Folder{filepath.Join(config, "keys")} }

// Entry is the file of a key.
type Entry struct {
	File string
	*format.KeyFile
}

// BrokenError says that the file of a key cannot be used.
type BrokenError struct {
	File string
	Err  error // an [*files.ExposedError], that of the file system, or what is wrong in the text
}

func (e *BrokenError) Error() string { return fmt.Sprintf("the key %s: %v", e.File, e.Err) }

func (e *BrokenError) Unwrap() error { return e.Err }

// suffix ends the names of keys' files.
const suffix = ".key"

// List reads all keys, by profile, user and age, and the reasons of those that cannot be used. An error
// is that the folder cannot be read; that there is none is not.
func (f Folder) List() (all []Entry, broken []error, err error) {
	profiles, err := os.ReadDir(f.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	for _, p := range profiles {
		dir := filepath.Join(f.Dir, p.Name())
		if info, err := os.Stat(dir); err != nil || !info.IsDir() || strings.HasPrefix(p.Name(), ".") { // it may be a link
			continue
		}
		inside, err := os.ReadDir(dir)
		if err != nil {
			broken = append(broken, err)
			continue
		}
		for _, file := range inside {
			if strings.HasPrefix(file.Name(), ".") || !strings.HasSuffix(file.Name(), suffix) {
				continue
			}
			e, err := read(filepath.Join(dir, file.Name()))
			if err != nil {
				broken = append(broken, err)
				continue
			}
			all = append(all, e)
		}
	}
	slices.SortStableFunc(all, compare)
	all, twice := first(all)
	return all, append(broken, twice...), nil
}

// first leaves out keys of a profile that another user has too: the tokens would be the same, and each can
// be one user's only.
func first(all []Entry) (firsts []Entry, copies []error) {
	of := map[string]Entry{}
	for _, e := range all {
		name := e.Profile + " " + e.ID()
		switch has, there := of[name]; {
		case !there:
			of[name] = e
		case has.User != e.User:
			copies = append(copies, &BrokenError{e.File, fmt.Errorf("it is a copy of %s: each user needs a key of his own", has.File)})
			continue
		}
		firsts = append(firsts, e)
	}
	return firsts, copies
}

func compare(x, y Entry) int {
	if c := strings.Compare(x.Profile, y.Profile); c != 0 {
		return c
	}
	if c := strings.Compare(x.User, y.User); c != 0 {
		return c
	}
	return x.Added.Compare(y.Added)
}

// read reads a key, unless others than its owner can read or write it. Its path says whose it is, as its
// text does.
func read(file string) (Entry, error) {
	refuse := func(err error) (Entry, error) { return Entry{}, &BrokenError{file, err} }
	if err := files.CheckSecret(file); err != nil {
		return refuse(err)
	}
	text, err := files.Read(file, format.MaxKeyFileSize)
	if err != nil {
		return refuse(err)
	}
	k, problems := format.ParseKeyFile(file, text)
	if k == nil {
		return refuse(errors.New(problems.Errors()[0].Message)) // without the line, which may be the secret
	}
	profile, name := filepath.Base(filepath.Dir(file)), strings.TrimSuffix(filepath.Base(file), suffix)
	if user, _, _ := strings.Cut(name, "."); user != k.User || profile != k.Profile {
		return refuse(fmt.Errorf("it is the key of %s for profile %s: its place is %s", k.User, k.Profile, filepath.Join(k.Profile, k.User+suffix)))
	}
	return Entry{file, k}, nil
}

// Of returns the keys of a profile, "" for all, and of a user, "" for all.
func Of(all []Entry, profile, user string) []Entry {
	return slices.DeleteFunc(slices.Clone(all), func(e Entry) bool {
		return profile != "" && e.Profile != profile || user != "" && e.User != user
	})
}

// Usable returns the keys that may open at a time.
func Usable(all []Entry, now time.Time) []protocol.Key {
	var usable []protocol.Key
	for _, e := range all {
		if e.KeyFile.Usable(now) {
			usable = append(usable, e.Key)
		}
	}
	return usable
}

// Ends returns when keys end that have an end.
func Ends(all []Entry) map[protocol.Key]time.Time {
	ends := map[protocol.Key]time.Time{}
	for _, e := range all {
		if !e.Expires.IsZero() {
			ends[e.Key] = e.Expires
		}
	}
	return ends
}

// New makes a key for a user of a profile, without a file.
func New(profile, user, audience string, now, expires time.Time) *format.KeyFile {
	k := &format.KeyFile{Key: protocol.Key{Profile: profile, User: user, Audience: audience}, Added: now.Truncate(time.Second), Expires: expires}
	_, _ = rand.Read(k.Secret[:]) // it never fails
	return k
}

// Add writes the file of a key. It replaces none. The error is a [*files.ExposedError] where others can
// write its folder: the key would not be used.
func (f Folder) Add(k *format.KeyFile) (Entry, error) {
	dir := filepath.Join(f.Dir, k.Profile)
	e := Entry{filepath.Join(dir, k.User+suffix), k}
	unlock, err := f.lock() // [Folder.Remove] takes the folder away with the last key
	if err != nil {
		return e, err
	}
	defer unlock()
	if _, err := files.Check(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return e, err
	}
	err = files.Write(e.File, format.KeyFileText(k), false)
	if errors.Is(err, fs.ErrExist) { // the user's first
		e.File = filepath.Join(dir, k.User+"."+k.ID()+suffix)
		err = files.Write(e.File, format.KeyFileText(k), false)
	}
	return e, err
}

// Change reads a listed key again, as another command may have changed it since, lets do change it, and
// writes it anew where do reports a change. Errors: [ErrGone], those of the file.
func (f Folder) Change(e Entry, do func(*format.KeyFile) bool) (changed bool, err error) {
	err = f.alone(e, func(now Entry) error {
		*e.KeyFile = *now.KeyFile
		if changed = do(e.KeyFile); !changed {
			return nil
		}
		return files.Write(e.File, format.KeyFileText(e.KeyFile), true)
	})
	return changed && err == nil, err
}

// Remove removes the file of a key, and the profile's folder with the last one. Errors: [ErrGone], those
// of the file.
func (f Folder) Remove(e Entry) error {
	return f.alone(e, func(Entry) error {
		err := files.Remove(e.File)
		if err == nil {
			_ = os.Remove(filepath.Dir(e.File)) // it fails where others are in it
		}
		return err
	})
}

// ErrGone says that a key was taken away since it was listed.
var ErrGone = errors.New("another command has taken it away")

func (f Folder) lock() (unlock func(), err error) { return lock(filepath.Join(f.Dir, ".lock")) }

// alone reads a listed key again, and calls do while no other command changes keys.
func (f Folder) alone(e Entry, do func(now Entry) error) error {
	unlock, err := f.lock()
	if err != nil {
		return err
	}
	defer unlock()
	now, err := read(e.File)
	if errors.Is(err, fs.ErrNotExist) || err == nil && now.Key != e.Key {
		return fmt.Errorf("the key %s: %w", e.File, ErrGone)
	}
	if err != nil {
		return err
	}
	return do(now)
}
