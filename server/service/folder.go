package service

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// A file that is being written is not read: it is waited for until nothing has
// happened for quiet, but no longer than patience after the first change.
const (
	quiet    = 300 * time.Millisecond
	patience = 3 * time.Second
)

// folderTask says on changed when a .toml file in a folder, or in profiles/ below
// it, was written, made, renamed, removed or given other rights: since the call, not
// since Run.
func folderTask(dir string, changed chan<- string, log *slog.Logger) Task {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		log.Warn("changed profiles are not noticed: reload with SIGHUP", "err", err)
		return newTask("no folder", func(ctx context.Context, ready func()) error {
			ready()
			<-ctx.Done()
			return nil
		})
	}
	f := &folder{dir, filepath.Join(dir, "profiles"), w, log}
	f.watch()
	return newTask("watching "+dir, func(ctx context.Context, ready func()) error {
		ready()
		defer w.Close()
		return f.run(ctx, changed)
	})
}

type folder struct {
	dir, profiles string
	w             *fsnotify.Watcher
	log           *slog.Logger
}

// watch watches both folders, as far as they exist. What is watched already stays so.
func (f *folder) watch() {
	for _, dir := range []string{f.dir, f.profiles} {
		if err := f.w.Add(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			f.log.Warn("changes in a folder are not noticed: reload with SIGHUP", "folder", dir, "err", err)
		}
	}
}

func (f *folder) run(ctx context.Context, changed chan<- string) error {
	var wait <-chan time.Time // nil: nothing has happened
	var first time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case e := <-f.w.Events:
			if !f.matters(e) {
				continue
			}
			if wait == nil {
				first = time.Now()
			}
			wait = time.After(min(quiet, patience-time.Since(first)))
		case err := <-f.w.Errors:
			f.log.Warn("some changes of files were missed", "err", err)
			wait, first = time.After(quiet), time.Now()
		case <-wait:
			wait = nil
			f.watch() // profiles/ may be a new folder
			select {
			case changed <- "files changed":
			case <-ctx.Done():
				return nil
			}
		}
	}
}

// matters reports whether an event is about a file that is read, or about a folder.
func (f *folder) matters(e fsnotify.Event) bool {
	name := filepath.Base(e.Name)
	return e.Name == f.profiles || e.Name == f.dir || (strings.HasSuffix(name, ".toml") && !strings.HasPrefix(name, "."))
}
