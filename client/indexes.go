package client

import (
	"math/rand/v2"
	"slices"
	"sync"

	"knockkit/protocol"
)

// Indexes hands out the indexes of a key's tokens. A server takes a token once, so nobody who has the
// key should get an index of a slot that another got: [IndexFiles] sees to that on one machine.
type Indexes interface {
	// Next returns an index of the slot that was not handed out before; ok is false when none is left.
	Next(key *protocol.Key, slot int64) (index int, ok bool)
}

// IndexMemory is the [Indexes] of one process. Its zero value is ready to use, by several goroutines at
// once; it must not be copied after that.
type IndexMemory struct {
	mu   sync.Mutex
	used map[string][]usedSlot // by the key's ID
}

// Next is as [Indexes] has it.
func (m *IndexMemory) Next(key *protocol.Key, slot int64) (index int, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	after, index, ok := take(m.used[key.ID()], slot)
	m.keep(key, after)
	return index, ok
}

// keep replaces what is known of a key; m.mu is held.
func (m *IndexMemory) keep(key *protocol.Key, all []usedSlot) {
	if m.used == nil {
		m.used = map[string][]usedSlot{}
	}
	m.used[key.ID()] = all
}

// usedSlot is a slot of which indexes were handed out.
type usedSlot struct {
	Slot    int64 `json:"slot"`
	Indexes uint8 `json:"indexes"` // a bit for each that was
}

// slotsKept is how many slots are remembered. A clock that is set back comes to slots that it had
// before.
const slotsKept = 16

// take hands out an index of the slot, and returns what was used by then, the slot that was used last
// at the end. Which one comes first is left to chance: another device may have the same key.
func take(all []usedSlot, slot int64) (after []usedSlot, index int, ok bool) {
	is := usedSlot{Slot: slot}
	after = slices.DeleteFunc(slices.Clone(all), func(s usedSlot) bool {
		if s.Slot == slot {
			is.Indexes |= s.Indexes
		}
		return s.Slot == slot
	})
	first := rand.IntN(protocol.Indexes)
	for i := range protocol.Indexes {
		index = (first + i) % protocol.Indexes
		if bit := uint8(1) << index; is.Indexes&bit == 0 {
			is.Indexes |= bit
			ok = true
			break
		}
	}
	after = append(after, is)
	return after[max(0, len(after)-slotsKept):], index, ok
}
