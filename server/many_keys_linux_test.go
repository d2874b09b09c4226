package server_test

import (
	"fmt"
	"testing"

	"knockkit/protocol"
)

// TestRightAfterManyKeysWereLoadedNoneIsTakenForANewOne: the kernel makes room for a set that has grown a
// moment later, and a reading in that moment had some keys twice and others not at all.
func TestRightAfterManyKeysWereLoadedNoneIsTakenForANewOne(t *testing.T) {
	const n = 10_000
	for range 3 { // without the second reading, about two of five were wrong
		s := newSignedSite(t, "")
		s.keys = nil
		for i := range uint32(n) {
			s.keys = append(s.keys, newKey("admin", fmt.Sprintf("user%d", i), 1000+i))
		}
		s.fresh(s.keys...)
		s.now = s.now.Add(protocol.SlotTime)
		if state := s.refresh(); len(state.Keys) != n || len(state.Added) > 0 || len(state.Ended) > 0 {
			t.Fatalf("%d keys, %d of them new, and %d ended", len(state.Keys), len(state.Added), len(state.Ended))
		}
	}
}
