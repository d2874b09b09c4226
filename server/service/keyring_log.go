package service

import (
	"slices"
	"time"

	"knockkit/internal/kernel/backend"
	"knockkit/server"
)

// maxKeyLines is how many keys a refresh logs one by one.
const maxKeyLines = 20

// logState says what a refresh has changed.
func (r *keyring) logState(state server.KeyState, now time.Time) {
	r.logKeys("a key may open", state.Added)
	r.logKeys("a key opens nothing any more", state.Ended)
	if !state.Opens.After(now) {
		state.Opens, state.Why = time.Time{}, ""
	}
	if len(state.Signed) == 0 {
		r.say("") // nothing is installed: it is about to be repaired
		return
	}
	was := r.shut
	r.shut = state
	r.shows(state, !state.Opens.IsZero())
	if state.Opens.IsZero() {
		if !was.Opens.IsZero() {
			r.Log.Info("signed profiles can be opened again", "profiles", state.Signed)
		}
		r.say("")
		return
	}
	if !state.Opens.Equal(was.Opens) {
		log := r.Log.With("profiles", state.Signed, "why", string(state.Why), "until", state.Opens)
		if state.Why == server.ShutClock {
			log = log.With("do", "set the clock, if it is wrong; if it was wrong before, make new keys: see docs/signed.md")
		}
		log.Warn("signed profiles are shut")
	}
	r.say("signed profiles are shut until " + clockText(state.Opens, now) + ": " + string(state.Why))
}

// shows gives the metrics what the kernel has.
func (r *keyring) shows(state server.KeyState, shut bool) {
	if r.metrics == nil {
		return
	}
	of := map[string]int{}
	for _, p := range state.Signed {
		of[p] = 0
	}
	for _, k := range state.Keys {
		of[k.Profile]++
	}
	r.metrics.SetKeys(of, shut)
}

func (r *keyring) logKeys(what string, keys []backend.LoadedKey) {
	if len(keys) > maxKeyLines {
		r.Log.Info(what, "keys", len(keys))
		return
	}
	for _, k := range keys {
		r.Log.Info(what, "profile", k.Profile, "user", k.User, "id", k.ID)
	}
}

// logBroken names files that cannot be used, and were in order at the last reading.
func (r *keyring) logBroken(broken []error) {
	for _, err := range broken {
		if !slices.ContainsFunc(r.broken, func(o error) bool { return o.Error() == err.Error() }) {
			r.Log.Error("a key's file cannot be used", "err", err)
		}
	}
}

// clockText is a time of this day, or with its date.
func clockText(t, now time.Time) string {
	if t.Sub(now) < 12*time.Hour {
		return t.Local().Format("15:04:05")
	}
	return t.Local().Format("2006-01-02 15:04:05")
}
