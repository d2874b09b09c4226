package service

import (
	"testing"
	"time"

	"knockkit/protocol"
)

func TestASpentTokenIsKnownUntilItCouldOpenNothingAnyMore(t *testing.T) {
	var s spentTokens
	start := time.Unix(2_000_000_000, 0)
	s.add(start, []protocol.Token{{1}})
	s.add(start.Add(spentFor), []protocol.Token{{2}})
	if !s.has(protocol.Token{1}) || !s.has(protocol.Token{2}) || s.has(protocol.Token{3}) {
		t.Errorf("%v", s.until)
	}
	if s.add(start.Add(spentFor+1), nil); s.has(protocol.Token{1}) {
		t.Error("it is known for longer")
	}
	if slots := protocol.SlotTime * (1 + protocol.EarlySlots + protocol.LateSlots); spentFor < slots {
		t.Errorf("it opens for %v, and is known for %v", slots, spentFor)
	}
}
