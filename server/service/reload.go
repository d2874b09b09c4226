package service

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"knockkit/internal/kernel/backend"
	"knockkit/protocol"
	"knockkit/protocol/format"
	"knockkit/server"
)

// start does the first install. A file with errors is logged, and does not keep the gates of the
// others open: after a boot there is no earlier good state. If the profile of such a file is
// installed, it stays.
func (k *keeper) start(ctx context.Context) error {
	k.filesRead = time.Now()
	w, err := k.Load()
	if err != nil {
		return err
	}
	h, err := k.Open(ctx, w.Settings)
	if err != nil {
		return err
	}
	k.reader.use(h)
	snapshot, err := k.reader.fresh(ctx)
	if err != nil {
		return err
	}
	in := snapshot.Installed
	for _, b := range w.Broken {
		k.Log.Error("a file cannot be used", "err", b.Err)
		if p := protocol.Find(in.Profiles, b.Profile); p != nil {
			w.Profiles = append(w.Profiles, p)
			k.Log.Warn("what is installed of it stays", "profile", p.Name)
		}
	}
	if w.Files == 0 && len(in.Profiles) > 0 {
		k.Log.Warn("there is no profile file: what is installed stays", "profiles", names(in.Profiles))
		w.Profiles = in.Profiles
	}
	k.use(h, w)
	k.memory.Sync(snapshot.Began.Up, snapshot.Began.Up, backend.KeepLeases(snapshot.Sources, in.Profiles, w.Profiles))
	k.metrics.Reloaded(time.Now(), len(w.Broken) == 0)
	return k.install(ctx, server.InstallOptions{Exactly: true, Guard: k.Guard}, "installed")
}

// reload reads the folder and installs what it says. A fault is logged, and then nothing has
// changed. It returns when to try again where the files may be in order and the host is not, as when
// another knockd has the lock for long.
func (k *keeper) reload(ctx context.Context, why string) (again <-chan time.Time) {
	k.manager.reloading()
	defer func() { k.manager.ready(k.summary()) }()
	began := time.Now()
	w, err := k.read()
	if err == nil {
		// Rules that another tool has flushed a moment ago come back first, with their leases: an
		// install into an empty kernel would keep no lease.
		_ = k.check(ctx) // a failure is logged there
		if err = k.change(ctx, w); err != nil {
			again = time.After(reloadRetry)
		}
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		k.Log.Error("not reloaded: nothing has changed", "why", why, "err", err)
	}
	k.keyring.wake(true)
	k.filesRead, k.filesErr = began, err
	k.metrics.Reloaded(time.Now(), err == nil)
	return again
}

// read reads the folder. The error has the faults of all files.
func (k *keeper) read() (Wanted, error) {
	w, err := k.Load()
	if err != nil {
		return w, err
	}
	for _, b := range w.Broken {
		err = errors.Join(err, b.Err)
	}
	if err == nil && w.Files == 0 && len(k.wanted.Profiles) > 0 {
		err = errors.New("there is no profile file any more: to end all gates, stop the service, then `knockd remove --all`")
	}
	return w, err
}

// change installs what is wanted now. After an error the earlier profiles are still the wanted ones.
func (k *keeper) change(ctx context.Context, w Wanted) error {
	before, was := k.host, k.wanted
	if same(was, w) {
		k.Log.Info("the files say what is installed", "profiles", names(was.Profiles))
		return nil
	}
	if w.Settings.Backend != was.Settings.Backend || w.Settings.Metrics != was.Settings.Metrics {
		k.Log.Warn("`backend` and `metrics` of knockd.toml change with a restart only")
		w.Settings.Backend, w.Settings.Metrics = was.Settings.Backend, was.Settings.Metrics
	}
	h, err := k.Open(ctx, w.Settings)
	if err != nil {
		return err
	}
	k.use(h, w)
	if err := k.install(ctx, server.InstallOptions{Exactly: true}, "reloaded"); err != nil {
		k.use(before, was)
		return err
	}
	k.memory.KeepLeases(was.Profiles, w.Profiles)
	return nil
}

// install commits what is wanted.
func (k *keeper) install(ctx context.Context, o server.InstallOptions, what string) error {
	ctx, cancel := context.WithTimeout(ctx, WorkLimit)
	defer cancel()
	change, err := k.host.Install(ctx, k.wanted.Profiles, o)
	if err != nil {
		return err
	}
	k.Log.Info(what, "profiles", names(k.wanted.Profiles), "new", change.Added, "changed", change.Updated, "removed", change.Removed)
	if len(k.wanted.Profiles) == 0 {
		k.Log.Warn("no profile is enabled: nothing is gated", "folder", k.Folder)
	}
	for _, name := range change.Removed {
		k.Log.Warn("no gate any more", "profile", name)
	}
	for _, note := range slices.Concat(change.Leases, change.Notes) {
		if !slices.Contains(k.notes, note) {
			k.Log.Warn(note)
		}
	}
	k.notes = change.Notes
	k.metrics.SetProfiles(names(k.wanted.Profiles))
	k.keyring.installed(k.host, k.wanted.Profiles)
	k.feed.Refresh()
	k.requestCheck() // is it in force?
	k.manager.status("%s", k.summary())
	freeMemory()
	return nil
}

// same reports whether two readings of the folder want the same.
func same(x, y Wanted) bool {
	return sameProfiles(x.Profiles, y.Profiles) && len(x.Settings.Policy.Differs(y.Settings.Policy)) == 0 &&
		x.Settings.Backend == y.Settings.Backend && x.Settings.Metrics == y.Settings.Metrics
}

func sameProfiles(x, y []*protocol.Profile) bool {
	texts := func(all []*protocol.Profile) []string {
		var texts []string
		for _, p := range all {
			texts = append(texts, fmt.Sprintf("%s %s", p.Name, format.Canonical(p)))
		}
		slices.Sort(texts)
		return texts
	}
	return slices.Equal(texts(x), texts(y))
}
