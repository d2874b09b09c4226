package node

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"knockkit/server/fleet"
)

// listener is a presence that hears of others at times of the test.
type listener struct {
	*presence
	now  time.Time
	came []time.Time
}

func newListener() *listener {
	l := &listener{presence: newPresence(&fleet.Config{Node: "here"}), now: time.Unix(2_000_000_000, 0)}
	l.presence.now = func() time.Time { return l.now }
	l.returned = func(last time.Time) { l.came = append(l.came, last) }
	return l
}

func (l *listener) beat(node, run string, number uint64, ahead time.Duration) []byte {
	text, _ := json.Marshal(beat{Node: node, Run: run, Number: number, Clock: l.now.Add(ahead)})
	return text
}

func TestTheTimeOfTheFleetIsTheMedianOfAllClocks(t *testing.T) {
	for _, c := range []struct {
		ahead []time.Duration
		want  time.Duration
	}{
		{nil, 0},
		{[]time.Duration{10 * time.Second}, 5 * time.Second},
		{[]time.Duration{time.Hour, time.Second}, time.Second}, // one is wrong, and it is not we
		{[]time.Duration{time.Hour, time.Hour}, time.Hour},     // we are
		{[]time.Duration{-time.Hour, 0, time.Second}, 0},
	} {
		l := newListener()
		for i, ahead := range c.ahead {
			l.take(l.beat(fmt.Sprint("db", i), "1", 1, ahead))
		}
		if got := l.offset(); got != c.want {
			t.Errorf("clocks ahead by %v: %v, not %v", c.ahead, got, c.want)
		}
		if l.now = l.now.Add(awayAfter + 1); l.offset() != 0 {
			t.Errorf("nodes that are away say what time it is: %v", l.offset())
		}
	}
}

func TestABeatIsTakenOnceAndOnlyInItsOrder(t *testing.T) {
	l := newListener()
	old := l.beat("db1", "1", 1, 0)
	l.take(old)
	l.now = l.now.Add(2 * time.Second)
	l.take(l.beat("db1", "1", 2, 0))
	last := l.now
	l.now = l.now.Add(time.Minute)
	for _, text := range [][]byte{old, []byte("no JSON"), l.beat("", "1", 9, 0), l.beat("here", "9", 9, time.Hour)} {
		l.take(text)
	}
	peers := l.list()
	if len(peers) != 1 || peers[0].Connected || !peers[0].Since.Equal(last) || l.offset() != 0 {
		t.Errorf("%+v", peers)
	}
	l.take(l.beat("db1", "2", 1, 0)) // a new process
	l.now = l.now.Add(awayAfter + 1)
	l.take(old) // of the one before it
	if peers := l.list(); peers[0].Connected {
		t.Errorf("%+v", peers)
	}
}

// TestABeatFromBeforeThisNodeListenedIsNobodysClock: who has the engine may have kept it.
func TestABeatFromBeforeThisNodeListenedIsNobodysClock(t *testing.T) {
	l := newListener()
	old := l.beat("db1", "1", 500, 0)
	l.now = l.now.Add(time.Hour)
	l.take(l.beat("db1", "2", 1, 0))
	l.take(old)
	if l.offset() != 0 {
		t.Errorf("the fleet's time is off by %v", l.offset())
	}
	l.now = l.now.Add(awayAfter + 1)
	l.take(old) // as of a node whose clock was set back
	l.take(l.beat("db1", "2", 2, 0))
	if l.offset() != 0 {
		t.Errorf("a replay shuts out the node itself: the fleet's time is off by %v", l.offset())
	}
}

func TestANodeWhoseClockWasSetBackIsHeardWhenItsFormerProcessIsAway(t *testing.T) {
	l := newListener()
	l.take(l.beat("db1", "2", 1, 0))
	l.now = l.now.Add(awayAfter + 1)
	l.take(l.beat("db1", "1", 1, 0))
	if peers := l.list(); !peers[0].Connected {
		t.Errorf("%+v", peers)
	}
}

func TestANodeThatIsThereAgainIsToldOfWithItsLastWord(t *testing.T) {
	l := newListener()
	first := l.now
	l.take(l.beat("db1", "1", 1, 0))
	l.now = l.now.Add(2 * time.Second)
	l.take(l.beat("db1", "1", 2, 0))
	if len(l.came) != 1 || l.came[0].After(first) || l.came[0].IsZero() {
		t.Errorf("it came %v", l.came)
	}
	last := l.now
	l.now = l.now.Add(awayAfter + 1)
	l.take(l.beat("db1", "1", 3, 0))
	l.take(l.beat("db1", "2", 1, 0))
	if len(l.came) != 3 || !l.came[1].Equal(last) || !l.came[2].Equal(l.now) {
		t.Errorf("it came %v", l.came)
	}
}

func FuzzABeatIsTakenOrRefused(f *testing.F) {
	l := newListener()
	f.Add(l.beat("db1", "1", 1, time.Second))
	f.Add([]byte(`{"node":"x","clock":"0001-01-01T00:00:00Z"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		l := newListener()
		l.take(text)
		l.list()
		l.offset()
	})
}
