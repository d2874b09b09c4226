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

// A file that is being written is not read: a reload waits until nothing has happened for quiet, but
// no longer than patience after the first change.
const (
	quiet    = 300 * time.Millisecond
	patience = 3 * time.Second
)

// folderTask sends to changed when a .toml file in a folder, or in profiles/ below it, was written,
// made, renamed, removed or given another mode. It watches from the call on, not from run on.
func folderTask(dir string, changed chan<- string, log *slog.Logger) *task {
	profiles := filepath.Join(dir, "profiles")
	f := newFolder(log, patience, func() []string { return []string{dir, profiles} }, func(e fsnotify.Event) bool {
		return e.Name == profiles || e.Name == dir || isFile(e.Name, ".toml")
	})
	return newTask("watching "+dir, func(ctx context.Context, ready func()) error {
		ready()
		f.run(ctx, func() {
			select {
			case changed <- "files changed":
			case <-ctx.Done():
			}
		})
		return nil
	})
}

// isFile reports whether a path has an ending, and is no hidden file's, as those are that become the
// file when they are written.
func isFile(path, ending string) bool {
	name := filepath.Base(path)
	return strings.HasSuffix(name, ending) && !strings.HasPrefix(name, ".")
}

// folder watches folders, as far as they exist.
type folder struct {
	log      *slog.Logger
	patience time.Duration             // how long changes may go on until they are told
	dirs     func() []string           // the folders, which may come and go
	matters  func(fsnotify.Event) bool // whether an event is about a file that is read, or about a folder
	w        *fsnotify.Watcher         // nil: nothing is noticed
}

// newFolder watches from the call on.
func newFolder(log *slog.Logger, patience time.Duration, dirs func() []string, matters func(fsnotify.Event) bool) *folder {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		log.Warn("changes of files are not noticed: reload with SIGHUP", "err", err)
		w = nil
	}
	f := &folder{log, patience, dirs, matters, w}
	f.watch()
	return f
}

// watch watches the folders that exist now.
func (f *folder) watch() {
	if f.w == nil {
		return
	}
	tried := map[string]bool{}
	for more := true; more; { // a folder may come before the one that it is in is watched
		more = false
		for _, dir := range f.dirs() {
			if tried[dir] {
				continue
			}
			tried[dir], more = true, true
			if err := f.w.Add(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
				f.log.Warn("changes in a folder are not noticed: reload with SIGHUP", "folder", dir, "err", err)
			}
		}
	}
}

// run calls changed after changes, until the context ends.
func (f *folder) run(ctx context.Context, changed func()) {
	if f.w == nil {
		<-ctx.Done()
		return
	}
	defer f.w.Close()
	var wait <-chan time.Time // nil: nothing has happened
	var first time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-f.w.Events:
			if !f.matters(e) {
				continue
			}
			if wait == nil {
				first = time.Now()
			}
			wait = time.After(min(quiet, f.patience-time.Since(first)))
		case err := <-f.w.Errors:
			f.log.Warn("some changes of files were missed", "err", err)
			wait, first = time.After(quiet), time.Now()
		case <-wait:
			wait = nil
			f.watch() // a folder may be new
			changed()
		}
	}
}
