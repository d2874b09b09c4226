package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"knockkit/protocol"
	"knockkit/protocol/format"
	"knockkit/server/keys"
)

// disableKeys lets keys open nothing. Those that are disabled already too: the command that did it may have
// been cut short, or have kept the leases.
func disableKeys(r *ring, user, profile string, which []keys.Entry) error {
	changed, err := r.change(user, profile, which, func(k *format.KeyFile) bool { was := k.Disabled; k.Disabled = true; return !was })
	already := ""
	if len(changed) == 0 {
		if err != nil {
			return err
		}
		changed, already = which, " already"
	}
	_, told := r.refresh(nil, secrets(changed))
	r.words.Note("%s disabled%s%s", named(user, profile, changed), already, within(told))
	r.copied(user, profile, changed)
	r.ended(user, profile)
	return err
}

// enableKeys lets keys open again.
func enableKeys(r *ring, user, profile string, which []keys.Entry) error {
	changed, err := r.change(user, profile, which, func(k *format.KeyFile) bool { was := k.Disabled; k.Disabled = false; return was })
	if len(changed) == 0 {
		if err == nil {
			r.words.Note("%s enabled already: nothing has changed", named(user, profile, which))
		}
		return err
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
	return err
}

// removeKeys takes keys away.
func removeKeys(r *ring, user, profile string, which []keys.Entry) error {
	var removed []keys.Entry
	err := r.left(user, profile)
	for _, e := range which {
		failed := r.folder.Remove(e)
		if err = errors.Join(err, writeError(failed)); failed == nil {
			removed = append(removed, e)
		}
	}
	if len(removed) == 0 {
		return err
	}
	stay := map[string]bool{}
	for _, e := range r.all {
		stay[e.ID()] = !slices.Contains(removed, e)
	}
	_, told := r.refresh(nil, secrets(removed))
	r.words.Note("%s removed%s", named(user, profile, removed), within(told))
	r.copied(user, profile, removed)
	r.ended(user, profile)
	if _, err := r.state.LastUses(); err == nil {
		if err := r.state.Forget(stay); err != nil {
			r.words.Warning("when it was used last is not forgotten: %v", err)
		}
	}
	return err
}

// copied warns of copies of a user's keys that others have, as refresh has read.
func (r *ring) copied(user, profile string, gone []keys.Entry) {
	for _, e := range keys.Of(r.all, profile, "") {
		if e.User != user && e.Usable(time.Now()) && slices.ContainsFunc(gone, func(g keys.Entry) bool { return g.ID() == e.ID() }) {
			r.words.Warning("%s has a copy of the key %s, and it opens from now on", e.User, e.ID())
			r.words.Advice("knockd key remove " + e.User + " " + profile + " --id " + e.ID())
		}
	}
}

// change changes keys of a user and writes those that have changed, all that it can.
func (r *ring) change(user, profile string, which []keys.Entry, do func(*format.KeyFile) bool) (changed []keys.Entry, err error) {
	err = r.left(user, profile)
	for _, e := range which {
		written, failed := r.folder.Change(e, do)
		if err = errors.Join(err, writeError(failed)); written {
			changed = append(changed, e)
		}
	}
	return changed, err
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
