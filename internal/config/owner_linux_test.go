package config

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"knockkit/internal/files"
	"knockkit/internal/lab/labtest"
)

// Whose home it is would be locked out of it.
func TestOnlyTheConfigurationFolderIsToChangeItsOwner(t *testing.T) {
	labtest.NeedRoot(t)
	const somebody = 12345
	for _, c := range []struct {
		name, belongs string
		lax           bool
		todo          string
	}{
		{"a home", "home", false, "choose a folder of root's with --config DIR, or run it without sudo"},
		{"the folder of all configurations", "home/.config", false, "choose a folder of root's with --config DIR, or run it without sudo"},
		{"the configuration folder", "home/.config/knock", false, "chown root PATH"},
		{"what is in it", "home/.config/knock/profiles", false, "chown root PATH"},
		{"a profile", "home/.config/knock/profiles/ssh.toml", false, "chown root PATH"},
		{"a checkout", "home/.config/knock", true, "choose a folder of root's with --config DIR, or run it without sudo"},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := t.TempDir()
			dir := filepath.Join(root, "home/.config/knock")
			path := filepath.Join(root, c.belongs)
			if err := errors.Join(os.MkdirAll(dir+"/profiles", 0o700), os.WriteFile(dir+"/profiles/ssh.toml", []byte(good), 0o600), os.Chown(path, somebody, somebody)); err != nil {
				t.Fatal(err)
			}
			f := Folders{Dirs: []string{dir}, Lax: c.lax}
			e, err := f.Load("ssh")
			if c.lax {
				err = e.Exposed
			}
			todo := c.todo
			if todo == "chown root PATH" {
				todo = "chown root " + path
			}
			if exposed := new(files.ExposedError); !errors.As(err, &exposed) || exposed.Path != path || exposed.Todo != todo {
				t.Errorf("error %v, to do %q, want %q", err, exposed.Todo, todo)
			}
		})
	}
}
