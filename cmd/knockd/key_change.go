package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"knockkit/protocol"
	"knockkit/server/keys"
)

// disableKeys lets keys open nothing.
func disableKeys(r *ring, user, profile string, which []keys.Entry) error {
	changed, err := r.change(which, func(e keys.Entry) bool { was := e.Disabled; e.Disabled = true; return !was })
	if err != nil {
		return err
	}
	if len(changed) == 0 {
		r.words.Note("%s disabled already: nothing has changed", named(user, profile, which))
		return nil
	}
	_, told := r.refresh(nil, secrets(changed))
	r.words.Note("%s disabled%s", named(user, profile, changed), within(told))
	r.ended(user, profile, r.others(user, profile, changed))
	return nil
}

// enableKeys lets keys open again.
func enableKeys(r *ring, user, profile string, which []keys.Entry) error {
	changed, err := r.change(which, func(e keys.Entry) bool { was := e.Disabled; e.Disabled = false; return was })
	if err != nil {
		return err
	}
	if len(changed) == 0 {
		r.words.Note("%s enabled already: nothing has changed", named(user, profile, which))
		return nil
	}
	st, told := r.refresh(nil, nil)
	r.words.Note("%s enabled%s", named(user, profile, changed), within(told))
	for _, e := range changed {
		if !e.Usable(time.Now()) {
			r.words.Warning("the key %s has expired: %s", e.ID(), e.Expires.UTC().Format(time.RFC3339))
		}
	}
	if p, err := r.folders.Load(profile); err == nil && told {
		r.words.Note("%s", r.opens(p.Profile, st, false))
	}
	return nil
}

// removeKeys takes keys away.
func removeKeys(r *ring, user, profile string, which []keys.Entry) error {
	for _, e := range which {
		if err := r.folder.Remove(e); err != nil {
			return writeError(err)
		}
	}
	_, told := r.refresh(nil, secrets(which))
	r.words.Note("%s removed%s", named(user, profile, which), within(told))
	r.ended(user, profile, r.others(user, profile, which))
	stay := map[string]bool{}
	for _, e := range r.all {
		stay[e.ID()] = !slices.Contains(which, e)
	}
	if _, err := r.state.LastUses(); err == nil {
		if err := r.state.Forget(stay); err != nil {
			r.words.Warning("when it was used last is not forgotten: %v", err)
		}
	}
	return nil
}

// change changes keys and writes those that have changed.
func (r *ring) change(which []keys.Entry, do func(keys.Entry) bool) (changed []keys.Entry, err error) {
	for _, e := range which {
		if !do(e) {
			continue
		}
		if err := r.folder.Change(e); err != nil {
			return changed, writeError(err)
		}
		changed = append(changed, e)
	}
	return changed, nil
}

// others returns the user's keys for the profile that are not among these.
func (r *ring) others(user, profile string, these []keys.Entry) []keys.Entry {
	return slices.DeleteFunc(keys.Of(r.all, profile, user), func(e keys.Entry) bool { return slices.Contains(these, e) })
}

func secrets(all []keys.Entry) (of []protocol.Key) {
	for _, e := range all {
		of = append(of, e.Key)
	}
	return of
}

// named is the beginning of a sentence about keys, with its verb.
func named(user, profile string, which []keys.Entry) string {
	if len(which) == 1 {
		return fmt.Sprintf("the key %s of %s for %s is", which[0].ID(), user, profile)
	}
	return fmt.Sprintf("the keys %s of %s for %s are", strings.Join(ids(which), ", "), user, profile)
}

// within says when a change acts that the kernel was not told of.
func within(told bool) string {
	if told {
		return ""
	}
	return "; that acts when a service takes it up"
}
