package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"knockkit/internal/say"
	"knockkit/protocol"
)

// An Entry is one profile file of the folders.
type Entry struct {
	Name     string
	File     string
	Profile  *protocol.Profile    // nil when the file is broken
	Warnings protocol.Diagnostics // of a file that can be used
	Err      error                // why the file is broken, as a [*BrokenError] if it was read
}

// BrokenError says that a profile's file cannot be used, and every reason.
type BrokenError struct {
	Name        string
	Diagnostics protocol.Diagnostics // warnings too
}

func (e *BrokenError) Error() string {
	n := len(e.Diagnostics.Errors())
	if n == 1 {
		return fmt.Sprintf("profile %s has an error", e.Name)
	}
	return fmt.Sprintf("profile %s has %d errors", e.Name, n)
}

// UnknownProfileError says that no folder has a profile of the name.
type UnknownProfileError struct {
	Name    string
	Known   []string // names of the profiles there are
	Folders Folders
}

func (e *UnknownProfileError) Error() string {
	return fmt.Sprintf("no profile %q in %s", e.Name, e.Folders)
}

// Closest returns the profile that was likely meant, "" when none is near.
func (e *UnknownProfileError) Closest() string { return say.Closest(e.Name, e.Known) }

// Load reads the profile of that name. The error is an [*UnknownProfileError]
// when there is none, a [*BrokenError] when its text is wrong.
func (f Folders) Load(name string) (Entry, error) {
	unknown := func() error {
		names, err := f.names()
		if err != nil {
			return err
		}
		return &UnknownProfileError{Name: name, Known: names, Folders: f}
	}
	if name == "" || strings.ContainsAny(name, `/\`+"\x00") { // a name, never a path
		return Entry{}, unknown()
	}
	e := ReadProfile(f.ProfileFile(name))
	if errors.Is(e.Err, fs.ErrNotExist) {
		return Entry{}, unknown()
	}
	return e, e.Err
}

// List reads every profile, by name. A broken one is an entry with its error.
func (f Folders) List() ([]Entry, error) {
	names, err := f.names()
	if err != nil {
		return nil, err
	}
	entries := make([]Entry, len(names))
	for i, name := range names {
		entries[i] = ReadProfile(f.ProfileFile(name))
	}
	return entries, nil
}

// names lists the profiles of all folders, sorted, each name once.
func (f Folders) names() ([]string, error) {
	var names []string
	for _, dir := range f {
		files, err := os.ReadDir(filepath.Join(dir, "profiles"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("list profiles: %w", err)
		}
		for _, file := range files {
			name, isProfile := strings.CutSuffix(file.Name(), ".toml")
			if isProfile && name != "" && !strings.HasPrefix(name, ".") { // editors' leftovers
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// ReadProfile reads one file. Of a file that is too large only as much is read
// as shows that it is.
func ReadProfile(file string) Entry {
	e := Entry{Name: strings.TrimSuffix(filepath.Base(file), ".toml"), File: file}
	data, err := read(file, protocol.MaxProfileSize+1)
	if err != nil {
		e.Err = err
		return e
	}
	profile, diagnostics := protocol.ParseProfile(file, data)
	if diagnostics.HasErrors() {
		e.Err = &BrokenError{e.Name, diagnostics}
		return e
	}
	e.Profile, e.Warnings = profile, diagnostics
	return e
}

func read(file string, limit int64) ([]byte, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() { // opening a pipe would wait for its writer
		return nil, fmt.Errorf("%s is not a regular file", file)
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit))
}
