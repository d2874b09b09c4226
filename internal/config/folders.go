package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"knockkit/internal/files"
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
// else $XDG_CONFIG_HOME/knock (~/.config/knock) and then /etc/knock. A folder
// that was named and does not exist is an error. A named one is lax, as `ssh -F` is: in
// a deploy job it belongs to whoever checked it out.
func Client(flag string, getenv func(string) string) (Folders, error) {
	var defaults []string
	// The XDG specification: a relative path is to be ignored.
	if home := getenv("XDG_CONFIG_HOME"); filepath.IsAbs(home) {
		defaults = append(defaults, filepath.Join(home, "knock"))
	} else if home := getenv("HOME"); home != "" {
		defaults = append(defaults, filepath.Join(home, ".config", "knock"))
	}
	f, named, err := folders(flag, getenv("KNOCK_CONFIG"), "KNOCK_CONFIG", append(defaults, "/etc/knock"))
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

// File returns the path of a file of the given name in the first folder that
// has it, else where it would be in the first folder.
func (f Folders) File(name string) string {
	for _, dir := range f.Dirs {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return filepath.Join(f.Dirs[0], name)
}

// Read returns what is in a file of the folders: [Folders.File] says which. The error is
// an [*files.ExposedError] where others can write it.
func (f Folders) Read(name string, limit int) (path string, text []byte, err error) {
	path = f.File(name)
	if _, err := files.Check(path); err != nil && !f.Lax {
		return path, nil, err
	}
	text, err = files.Read(path, limit)
	return path, text, err
}

// Check returns an [*files.ExposedError] where others can write what is below the first
// folder, which need not be there yet.
func (f Folders) Check() error {
	_, err := files.Check(filepath.Dir(f.ProfileFile("any")))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// ProfileFile is where the profile of that name is, or would be made.
func (f Folders) ProfileFile(name string) string {
	return f.File(filepath.Join("profiles", name+".toml"))
}

// String names the folders for a person: "~" is not used, paths can be pasted.
func (f Folders) String() string {
	return strings.Join(f.Dirs, " or ")
}
