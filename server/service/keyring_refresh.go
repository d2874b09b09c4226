package service

import (
	"context"
	"errors"
	"time"

	"knockkit/protocol"
	"knockkit/server"
	"knockkit/server/keys"
)

// refresh gives the kernel the tokens that it is to have, and returns when to do that again.
func (r *keyring) refresh(ctx context.Context, host Host, now time.Time, files bool) time.Time {
	defer freeMemory()
	next := protocol.SlotStart(protocol.Slot(now) + 1)
	var state server.KeyState
	err := r.readKeys(files)
	if err == nil {
		state, err = r.give(ctx, host, now)
	}
	r.failure(err)
	if slot := protocol.Slot(now); slot != r.slot {
		r.slot = slot
		r.writeUses()
		r.forgetUsers(ctx, host)
	}
	if err != nil {
		r.logKeys("a key opens nothing any more", state.Ended)
		return r.clock().Wall.Add(checkRetry)
	}
	r.logState(state, now)
	soonest := func(t time.Time) {
		if t.After(now) && t.Before(next) {
			next = t
		}
	}
	soonest(state.Opens)
	for _, k := range r.keys {
		if !k.Disabled {
			soonest(k.Expires)
		}
	}
	return next
}

// readKeys reads the files of keys, where they may have changed.
func (r *keyring) readKeys(changed bool) error {
	if !changed {
		return nil
	}
	all, broken, err := r.Keys()
	if err != nil {
		r.mu.Lock()
		r.stale = true // they are still to be read
		r.mu.Unlock()
		return err
	}
	r.logBroken(broken)
	r.keys, r.ends, r.broken = all, keys.Ends(all), broken
	return nil
}

// give gives the kernel the tokens of the keys that may open now.
func (r *keyring) give(ctx context.Context, host Host, now time.Time) (server.KeyState, error) {
	ctx, cancel := context.WithTimeout(ctx, WorkLimit)
	defer cancel()
	highest, unread := r.State.Highest()
	usable, gone := r.usable(now)
	state, err := host.RefreshKeys(ctx, server.KeyRefresh{
		Now: now, Keys: usable, Gone: gone, Highest: highest, Clear: r.unsure, Spent: r.spent.has,
		Ends: func(k protocol.Key) time.Time { return r.ends[k] },
		Reread: func() (_, gone []protocol.Key, err error) {
			if err = r.readKeys(true); err == nil {
				usable, gone = r.usable(now)
			}
			return usable, gone, err
		},
		Record: func(slot int64) error {
			if unread != nil {
				return &stateError{unread}
			}
			if err := r.State.Record(slot); err != nil {
				return &stateError{err}
			}
			return nil
		},
	})
	if err == nil && unread != nil {
		err = &stateError{unread}
	}
	if err != nil {
		return state, err
	}
	r.loaded, r.unsure = usable, false
	return state, nil
}

// usable returns the keys that may open at a time, and those that the kernel has and that may no more.
func (r *keyring) usable(now time.Time) (usable, gone []protocol.Key) {
	usable = keys.Usable(r.keys, now)
	may := map[protocol.Key]bool{}
	for _, k := range usable {
		may[k] = true
	}
	for _, k := range r.loaded {
		if !may[k] {
			gone = append(gone, k)
		}
	}
	return usable, gone
}

// forgetUsers has the kernel forget who has opened leases that are over.
func (r *keyring) forgetUsers(ctx context.Context, host Host) {
	ctx, cancel := context.WithTimeout(ctx, WorkLimit)
	defer cancel()
	r.fault("who has opened leases that are over is not forgotten", host.ForgetUsers(ctx))
}

// stateError says that the record of slots cannot be read or written.
type stateError struct{ error }

func (e *stateError) Unwrap() error { return e.error }

// writeUses writes when keys were used. What cannot be written waits for the next time.
func (r *keyring) writeUses() {
	waiting := r.uses.take()
	if len(waiting) == 0 {
		return
	}
	err := r.State.Used(waiting)
	if err != nil {
		r.uses.putBack(waiting)
	}
	r.fault("when keys were used last is not kept", err)
}

// fault logs what has failed, unless it is the same as last time. What the end of the service has cut
// short is none.
func (r *keyring) fault(what string, err error, attrs ...any) {
	if errors.Is(err, context.Canceled) {
		return
	}
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != r.faults[what] && err != nil {
		r.Log.Error(what, append([]any{"err", err}, attrs...)...)
	}
	r.faults[what] = text
}

// failure says why the tokens are not refreshed.
func (r *keyring) failure(err error) {
	do := "what the kernel has of tokens ends within a minute; this is tried again"
	if state := new(stateError); errors.As(err, &state) {
		do = "signed profiles stay shut until the service can read and write its state: see docs/service-unit.md"
	}
	const what = "signed profiles get no tokens"
	r.fault(what, err, "do", do)
	if err != nil {
		r.say(what + ": " + err.Error())
		r.shows(r.shut, true)
	}
}
