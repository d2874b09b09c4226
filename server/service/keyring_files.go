package service

import (
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// keyPatience is how long changes of keys may go on until they act.
const keyPatience = time.Second

// watchKeys watches keys/ in a folder and the folders in it, one for each profile.
func watchKeys(dir string, log *slog.Logger) *folder {
	keys := filepath.Join(dir, "keys")
	dirs := func() []string {
		all := []string{dir, keys}
		entries, _ := os.ReadDir(keys) // none: it is not there yet, or reading the keys says why
		for _, e := range entries {
			if path := filepath.Join(keys, e.Name()); isDir(path) {
				all = append(all, path)
			}
		}
		return all
	}
	return newFolder(log, keyPatience, dirs, func(e fsnotify.Event) bool {
		return e.Name == dir || e.Name == keys || filepath.Dir(e.Name) == keys || isFile(e.Name, ".key")
	})
}

func isDir(path string) bool {
	is, err := os.Stat(path)
	return err == nil && is.IsDir()
}
