package server

import (
	"maps"
	"slices"
	"time"

	"knockkit/internal/kernel/backend"
	"knockkit/protocol"
)

// planTokens says what has to change so that the kernel has the tokens of a refresh, nil for nothing, and
// what it has then. It is pure.
func planTokens(is backend.Tokens, r KeyRefresh) (*backend.TokenChange, KeyState) {
	now := protocol.Slot(r.Now)
	oldest, newest := now-protocol.LateSlots, now+protocol.EarlySlots
	c := backend.TokenChange{Slot: is.Slot, First: is.First, Clear: r.Clear || !is.Known}
	if c.Clear { // a kernel may have had the tokens of all slots up to the newest
		c.Slot = max(r.Highest, is.Slot, newest)
		c.First = c.Slot + 1
	}
	had := c.Slot
	c.Slot = max(had, newest)

	keys := matchKeys(is, r, now)
	c.Add, c.Drop, c.Forget = keys.added, keys.dropped, keys.forgotten
	load := func(first, last int64, of []protocol.Key) {
		for slot := max(first, oldest); slot <= last && len(of) > 0; slot++ {
			c.Load = append(c.Load, r.slotOf(slot, of)...)
		}
	}
	load(oldest, min(had, newest), keys.fresh)
	if !c.Clear && had <= newest {
		// What the kernel does not know it has not had since the first of these slots: a key that was dropped
		// is known as a former one until its tokens have expired.
		load(c.First, had, keys.unknown)
	}
	load(had+1, newest, keys.wanted)
	for slot := oldest; slot <= newest && len(r.Gone) > 0; slot++ {
		c.Gone = append(c.Gone, backend.SlotOf{Slot: slot, Keys: r.Gone})
	}

	st := KeyState{Signed: slices.Sorted(maps.Keys(is.Profiles)), Slot: c.Slot, Ended: c.Drop, Keys: keys.stay}
	for _, k := range c.Add {
		st.Added = append(st.Added, loadedKey(k))
	}
	st.Keys = append(st.Keys, st.Added...)
	st.Opens, st.Why = shutUntil(now, c.First, had)
	if !c.Clear && c.Slot == is.Slot && len(c.Add)+len(c.Drop)+len(c.Forget)+len(c.Gone) == 0 {
		return nil, st
	}
	return &c, st
}

// slotOf returns the tokens of keys in a slot. Those of a key that ends before the slot does have a time
// of their own: so a stopped service does not prolong it. What lasts no millisecond is left out: a token
// without a time would stay for ever.
func (r *KeyRefresh) slotOf(slot int64, of []protocol.Key) (all []backend.SlotOf) {
	ends := protocol.SlotStart(slot + protocol.LateSlots + 1)
	add := func(end time.Time, of ...protocol.Key) {
		if left := end.Sub(r.Now).Truncate(time.Millisecond); left > 0 && len(of) > 0 {
			all = append(all, backend.SlotOf{Slot: slot, Keys: of, Left: left})
		}
	}
	var whole []protocol.Key
	for _, k := range of {
		end := time.Time{}
		if r.Ends != nil {
			end = r.Ends(k)
		}
		if !end.IsZero() && end.Before(ends) {
			add(end, k)
		} else {
			whole = append(whole, k)
		}
	}
	add(ends, whole...)
	return all
}

// shutUntil returns until when nobody can knock in a slot, and why; the zero time: it is open. The kernel
// has had the tokens of the slots from first on, up to the highest.
func shutUntil(now, first, highest int64) (time.Time, ShutReason) {
	switch {
	case now < first && first-now <= 1+protocol.EarlySlots:
		return protocol.SlotStart(first), ShutUnknown
	case now < first: // a first start, a boot or a flush shuts for two slots at most: this is the clock's doing
		return protocol.SlotStart(first), ShutClock
	case now < highest-protocol.EarlySlots-protocol.LateSlots: // the tokens of this slot have expired
		return protocol.SlotStart(highest + 1), ShutClock
	}
	return time.Time{}, ""
}

// tokensNow says whether the kernel has tokens that are valid at a time, and if so until when it is shut
// all the same.
func tokensNow(is backend.Tokens, at time.Time) (has bool, opens time.Time, why ShutReason) {
	now := protocol.Slot(at)
	if !is.Known || is.Slot < now {
		return false, time.Time{}, ""
	}
	opens, why = shutUntil(now, is.First, is.Slot)
	return true, opens, why
}

// matched compares the keys that the kernel knows with those that it is to know.
type matched struct {
	wanted, added            []protocol.Key
	fresh, unknown           []protocol.Key // of the added ones: those that no kernel, or not this one, has had
	stay, dropped, forgotten []backend.LoadedKey
}

func matchKeys(is backend.Tokens, r KeyRefresh, now int64) (m matched) {
	known, had, profiles := map[string]bool{}, map[string]bool{}, is.Profiles
	valid := func(k backend.LoadedKey) bool { // the profile may have been away since, and have another number now
		return !k.Former && uint16(k.Number>>16) == is.Profiles[k.Profile]
	}
	for _, k := range is.Keys {
		known[k.String()] = known[k.String()] || valid(k)
		had[k.Profile+" "+k.ID] = true // whoever's it was: tokens do not name the user
	}
	wants, fresh := map[string]bool{}, map[string]bool{}
	for _, id := range r.Fresh {
		fresh[id] = true
	}
	for _, k := range r.Keys {
		is := loadedKey(k)
		name := is.String()
		if profiles[k.Profile] == 0 || wants[name] {
			continue
		}
		wants[name] = true
		m.wanted = append(m.wanted, k)
		if known[name] {
			continue
		}
		m.added = append(m.added, k)
		switch {
		case fresh[is.ID]:
			m.fresh = append(m.fresh, k)
		case !had[is.Profile+" "+is.ID]:
			m.unknown = append(m.unknown, k)
		}
	}
	for _, k := range is.Keys {
		switch {
		case !k.Former && valid(k) && wants[k.String()]:
			m.stay = append(m.stay, k)
		case !k.Former:
			m.dropped = append(m.dropped, k)
		case k.Leases == 0 && now > k.Dropped+protocol.EarlySlots+protocol.LateSlots: // no token of its number is left
			m.forgotten = append(m.forgotten, k)
		}
	}
	return m
}

func loadedKey(k protocol.Key) backend.LoadedKey {
	return backend.LoadedKey{Profile: k.Profile, User: k.User, ID: k.ID()}
}
