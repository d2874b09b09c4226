package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Folders are the configuration folders in the order they are searched. A
// profile in an earlier folder hides one of the same name in a later one.
type Folders []string

// Server returns the server's folder: the flag's value, else $KNOCKD_CONFIG,
// else /etc/knockd. A folder that was named and does not exist is an error.
func Server(flag string, getenv func(string) string) (Folders, error) {
	return folders(flag, getenv("KNOCKD_CONFIG"), "KNOCKD_CONFIG", []string{"/etc/knockd"})
}

// Client returns the client's folders: the flag's value, else $KNOCK_CONFIG,
// else $XDG_CONFIG_HOME/knock (~/.config/knock) and then /etc/knock. A folder
// that was named and does not exist is an error.
func Client(flag string, getenv func(string) string) (Folders, error) {
	var defaults []string
	// The XDG specification: a relative path is to be ignored.
	if home := getenv("XDG_CONFIG_HOME"); filepath.IsAbs(home) {
		defaults = append(defaults, filepath.Join(home, "knock"))
	} else if home := getenv("HOME"); home != "" {
		defaults = append(defaults, filepath.Join(home, ".config", "knock"))
	}
	return folders(flag, getenv("KNOCK_CONFIG"), "KNOCK_CONFIG", append(defaults, "/etc/knock"))
}

func folders(flag, env, variable string, defaults []string) (Folders, error) {
	named, by := flag, "--config"
	if named == "" {
		named, by = env, variable
	}
	if named == "" {
		return defaults, nil
	}
	info, err := os.Stat(named)
	if err != nil {
		return nil, fmt.Errorf("the folder of %s: %w", by, err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("the folder of %s: %s is not a folder", by, named)
	}
	return Folders{named}, nil
}

// File returns the path of a file of the given name in the first folder that
// has it, else where it would be in the first folder.
func (f Folders) File(name string) string {
	for _, dir := range f {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return filepath.Join(f[0], name)
}

// ProfileFile is where the profile of that name is, or would be made.
func (f Folders) ProfileFile(name string) string {
	return f.File(filepath.Join("profiles", name+".toml"))
}

// String names the folders for a person: "~" is not used, paths can be pasted.
func (f Folders) String() string {
	return strings.Join(f, " or ")
}
