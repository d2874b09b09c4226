package service

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"knockkit/internal/lab/labtest"
)

func TestChangesOfKeysAreNoticedWhileTheirFoldersComeAndGo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	keys := filepath.Join(dir, "keys")
	admin, web := filepath.Join(keys, "admin"), filepath.Join(keys, "web")
	write := func(folder string) func() error {
		return func() error { // as an editor, and knockd, write
			err := os.WriteFile(filepath.Join(folder, ".new"), nil, 0o600)
			return errors.Join(err, os.Rename(filepath.Join(folder, ".new"), filepath.Join(folder, "alice.key")))
		}
	}
	var noticed atomic.Int32
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	f := watchKeys(dir, slog.New(slog.NewTextHandler(t.Output(), nil)))
	go func() { f.run(ctx, func() { noticed.Add(1) }); close(ended) }()
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"the folder comes", func() error { return os.MkdirAll(admin, 0o700) }},
		{"a key comes", write(admin)},
		{"a key changes", write(admin)},
		{"others may read it", func() error { return os.Chmod(filepath.Join(admin, "alice.key"), 0o644) }},
		{"a key goes", func() error { return os.Remove(filepath.Join(admin, "alice.key")) }},
		{"a profile's folder goes", func() error { return os.Remove(admin) }},
		{"another's comes with a key", func() error { return errors.Join(os.Mkdir(web, 0o700), write(web)()) }},
		{"that key changes", write(web)},
		{"the folder is moved away", func() error { return os.Rename(keys, filepath.Join(dir, "old")) }},
		{"it comes back", func() error { return os.Rename(filepath.Join(dir, "old"), keys) }},
		{"a key in it changes", write(web)},
	} {
		before := noticed.Load()
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		labtest.Eventually(t, 10*time.Second, func() error {
			if noticed.Load() == before {
				return errors.New("not noticed: " + step.what)
			}
			return nil
		})
	}
	cancel()
	<-ended
}
