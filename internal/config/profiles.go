package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"knockkit/internal/files"
	"knockkit/internal/say"
	"knockkit/protocol"
)

// An Entry is one profile file of the folders.
type Entry struct {
	Name     string
	File     string
	Text     []byte               // what the file held when it was read
	Profile  *protocol.Profile    // nil when the file is broken
	Warnings protocol.Diagnostics // of a file that can be used
	Err      error                // why the file is broken, as a [*BrokenError] if it was read
	Exposed  error                // of lax folders: a [*files.ExposedError]; else that is Err
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
	e := f.read(name)
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
		entries[i] = f.read(name)
	}
	return entries, nil
}

// names lists the profiles of all folders, sorted, each name once.
func (f Folders) names() ([]string, error) {
	var names []string
	for _, dir := range f.Dirs {
		dir = filepath.Join(dir, "profiles")
		inside, err := os.ReadDir(dir)
		if err == nil && !f.Lax {
			_, err = files.Check(dir)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("list profiles: %w", err)
		}
		for _, file := range inside {
			name, isProfile := strings.CutSuffix(file.Name(), ".toml")
			if isProfile && name != "" && !strings.HasPrefix(name, ".") { // editors' leftovers
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// read reads a profile of the folders, unless others could have written it.
func (f Folders) read(name string) Entry {
	file := f.ProfileFile(name)
	readable, exposed := files.Check(file)
	if exposed != nil && !f.Lax {
		return Entry{Name: name, File: file, Err: exposed}
	}
	e := ReadProfile(file)
	if errors.As(exposed, new(*files.ExposedError)) {
		e.Exposed = exposed
	}
	if e.Profile != nil && readable && len(e.Profile.Sequence) > 0 {
		e.Warnings = append(e.Warnings, protocol.Diagnostic{Severity: protocol.SeverityWarning, File: file,
			Message: "everybody on this host can read the sequence", Hint: "chmod go-r " + file})
	}
	return e
}

// ReadProfile reads one file, whoever can write it.
func ReadProfile(file string) Entry {
	e := Entry{Name: protocol.ProfileName(file), File: file}
	if e.Text, e.Err = files.Read(file, protocol.MaxProfileSize); e.Err != nil {
		return e
	}
	profile, diagnostics := protocol.ParseProfile(file, e.Text)
	if diagnostics.HasErrors() {
		e.Err = &BrokenError{e.Name, diagnostics}
		return e
	}
	e.Profile, e.Warnings = profile, diagnostics
	return e
}
