package config

import (
	"context"
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
	"knockkit/protocol/format"
)

// Folders are the configuration folders of a program.
type Folders struct {
	Dirs []string // as they are searched: an earlier profile hides one of its name in a later one
	Lax  bool     // who else can write the files is no error: see [Entry.Exposed]
}

// Server returns the server's folder: the flag's value, else $KNOCKD_CONFIG,
// else /etc/knockd. A folder that was named and does not exist is an error.
func Server(flag string, getenv func(string) string) (Folders, error) {
	f, _, err := folders(flag, getenv("KNOCKD_CONFIG"), "KNOCKD_CONFIG", []string{"/etc/knockd"})
	return f, err
}

// Client returns the client's folders: the flag's value, else $KNOCK_CONFIG,
// else $XDG_CONFIG_HOME/knock (~/.config/knock) and then /etc/knock; on Windows
// %AppData%\knock alone, as everybody may make \etc there. A folder
// that was named and does not exist is an error. A named one is lax, as `ssh -F` is: in
// a deploy job it belongs to whoever checked it out.
func Client(flag string, getenv func(string) string) (Folders, error) {
	defaults := []string{"/etc/knock"}
	// The XDG specification: a relative path is to be ignored.
	if home := getenv("XDG_CONFIG_HOME"); filepath.IsAbs(home) {
		defaults = []string{filepath.Join(home, "knock"), "/etc/knock"}
	} else if data := getenv("AppData"); data != "" { // nowhere but on Windows
		defaults = []string{filepath.Join(data, "knock")}
	} else if home := getenv("HOME"); home != "" {
		defaults = []string{filepath.Join(home, ".config", "knock"), "/etc/knock"}
	}
	f, named, err := folders(flag, getenv("KNOCK_CONFIG"), "KNOCK_CONFIG", defaults)
	f.Lax = named
	return f, err
}

func folders(flag, env, variable string, defaults []string) (f Folders, isNamed bool, err error) {
	named, by := flag, "--config"
	if named == "" {
		named, by = env, variable
	}
	if named == "" {
		return Folders{Dirs: defaults}, false, nil
	}
	info, err := os.Stat(named)
	if err != nil {
		return f, true, fmt.Errorf("the folder of %s: %w", by, err)
	}
	if !info.IsDir() {
		return f, true, fmt.Errorf("the folder of %s: %s is not a folder", by, named)
	}
	return Folders{Dirs: []string{named}}, true, nil
}

// file returns the path of a file of the given name in the first folder that
// has it, else where it would be in the first folder.
func (f Folders) file(name string) string {
	for _, dir := range f.Dirs {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return filepath.Join(f.Dirs[0], name)
}

// Read returns what is in a file of the folders: [Folders.file] says which. The error is
// an [*files.ExposedError] where others can write it.
func (f Folders) Read(name string, limit int) (path string, text []byte, err error) {
	path = f.file(name)
	if _, err := f.check(path); err != nil && !f.Lax {
		return path, nil, err
	}
	text, err = files.Read(path, limit)
	return path, text, err
}

// Check returns an [*files.ExposedError] where others can write what is below the first
// folder, which need not be there yet.
func (f Folders) Check() error { return f.checkDir(filepath.Dir(f.ProfileFile("any"))) }

func (f Folders) checkDir(dir string) error {
	_, err := f.check(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// check is [files.Check] for a path below one of the folders. These, and what is in them, should have
// another owner where it is somebody else; a folder above is his home, perhaps, and a lax one his checkout.
func (f Folders) check(path string) (readable bool, err error) {
	readable, err = files.Check(path)
	if exposed := new(files.ExposedError); errors.As(err, &exposed) && exposed.Chown != "" && !f.Lax && slices.ContainsFunc(f.Dirs, contains(exposed.Path)) {
		exposed.Todo = exposed.Chown
	}
	return readable, err
}

// contains returns whether a folder is the path, or is above it.
func contains(path string) func(dir string) bool {
	return func(dir string) bool {
		dir, err := filepath.Abs(dir)
		if err != nil {
			return false
		}
		inside, err := filepath.Rel(dir, path)
		return err == nil && filepath.IsLocal(inside)
	}
}

// SettingsFile is where the server's settings are, or would be written.
func (f Folders) SettingsFile() string { return f.file("knockd.toml") }

// ProfileFile is where the profile of that name is, or would be made.
func (f Folders) ProfileFile(name string) string {
	return f.file(filepath.Join("profiles", name+".toml"))
}

// NewFile is where a profile of that name is made: in the first folder.
func (f Folders) NewFile(name string) string {
	return filepath.Join(f.Dirs[0], "profiles", name+".toml")
}

// String names the folders for a person: "~" is not used, paths can be pasted.
func (f Folders) String() string {
	return strings.Join(f.Dirs, " or ")
}

// An Entry is one profile file of the folders.
type Entry struct {
	Name     string
	File     string
	Text     []byte             // the file's text when it was read
	Profile  *protocol.Profile  // nil when the file is broken
	Warnings format.Diagnostics // of a file that can be used
	Err      error              // why the file is broken, as a [*BrokenError] if it was read
	Exposed  error              // of lax folders: a [*files.ExposedError]; else that is Err

	// Readable says that everybody can read the sequence of a profile in the first folder, which is for
	// one user: later ones are for all of a machine, and a lax one is as it was checked out.
	Readable bool
}

// BrokenError says that a profile's file cannot be used, and every reason.
type BrokenError struct {
	Name        string
	Key         bool               // it is the file of its key
	Diagnostics format.Diagnostics // warnings too
}

func (e *BrokenError) Error() string {
	what := "profile " + e.Name
	if e.Key {
		what = "the key of " + what
	}
	n := len(e.Diagnostics.Errors())
	if n == 1 {
		return what + " has an error"
	}
	return fmt.Sprintf("%s has %d errors", what, n)
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
			_, err = f.check(dir)
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
	readable, exposed := f.check(file)
	if exposed != nil && !f.Lax {
		return Entry{Name: name, File: file, Err: exposed}
	}
	e := ReadProfile(file)
	e.guard(readable, exposed)
	e.Readable = e.everybodys(readable) && !f.Lax && file == f.NewFile(name)
	return e
}

// guard adds to a profile of a lax folder who else can write it, and to any that everybody can
// read the sequence.
func (e *Entry) guard(readable bool, exposed error) {
	if errors.As(exposed, new(*files.ExposedError)) {
		e.Exposed = exposed
	}
	if e.everybodys(readable) {
		e.Warnings = append(e.Warnings, format.Diagnostic{Severity: format.SeverityWarning, File: e.File,
			Message: "everybody on this host can read the sequence", Hint: "chmod go-r " + e.File})
	}
}

// everybodys reports whether everybody can read a sequence, as its file is readable.
func (e *Entry) everybodys(readable bool) bool {
	return e.Profile != nil && readable && len(e.Profile.Sequence) > 0
}

// ReadGiven reads the file of a profile that a person has named, as in a lax folder. "-" is
// standard input, and its profile is called "stdin".
func ReadGiven(ctx context.Context, file string) Entry {
	name := file
	if file == "-" {
		name = "stdin"
	}
	text, err := files.Input(ctx, file, protocol.MaxProfileSize)
	e := newEntry(name, text, err)
	if file != "-" && e.Err == nil {
		e.guard(files.Check(file))
	}
	return e
}

// ReadProfile reads one file, whoever can write it.
func ReadProfile(file string) Entry {
	text, err := files.Read(file, protocol.MaxProfileSize)
	return newEntry(file, text, err)
}

// newEntry returns the entry of a file whose text was read, or not.
func newEntry(file string, text []byte, err error) Entry {
	e := Entry{Name: format.ProfileName(file), File: file, Text: text, Err: err}
	if err != nil {
		return e
	}
	profile, diagnostics := format.ParseProfile(file, text)
	if diagnostics.HasErrors() {
		e.Err = &BrokenError{Name: e.Name, Diagnostics: diagnostics}
		return e
	}
	e.Profile, e.Warnings = profile, diagnostics
	return e
}
