package protocol

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestTheReasonsAreWordsThatAPersonCanActOn walks one source through every kind of
// transition, as `knockd explain` does.
func TestTheReasonsAreWordsThatAPersonCanActOn(t *testing.T) {
	type event struct {
		wait  time.Duration // before it
		knock Knock
	}
	for _, c := range []struct {
		name     string
		profiles []*Profile
		policy   Policy
		events   []event
		want     string // the last event's reason
	}{
		{"no sequence starts so", []*Profile{profile("mysql", 10*time.Second, ping, echo)}, Policy{Strict: true},
			[]event{{0, sql}}, "starts no sequence"},
		{"a first knock", []*Profile{profile("mysql", 10*time.Second, ping, echo)}, Policy{Strict: true},
			[]event{{0, ping}}, "start: mysql 1/2"},
		{"a knock of two profiles", []*Profile{profile("mysql", 10*time.Second, ping, echo), profile("web", 10*time.Second, ping, back)}, Policy{Strict: true},
			[]event{{0, ping}}, "start: mysql 1/2, web 1/2"},
		{"the next knock", []*Profile{profile("mysql", 10*time.Second, ping, echo)}, Policy{Strict: true},
			[]event{{0, ping}, {0, echo}}, "advance: mysql 2/2"},
		{"a repeated knock", []*Profile{profile("mysql", 10*time.Second, ping, echo)}, Policy{Strict: true},
			[]event{{0, ping}, {0, ping}}, "repeat: the same knock again, its time starts again"},
		{"a wrong knock", []*Profile{profile("mysql", 10*time.Second, ping, echo), profile("web", 10*time.Second, ping, back)}, Policy{Strict: true},
			[]event{{0, ping}, {0, sql}}, "start over: 7/tcp or 8000/tcp was expected"},
		{"an ending", []*Profile{profile("long", 0, ping, echo, back, sql), profile("short", 0, echo, back, ping)}, Policy{Strict: true},
			[]event{{0, ping}, {0, echo}, {0, back}, {0, ping}}, "suffix: the last knocks are those of short 3/3"},
		{"too late", []*Profile{profile("mysql", 10*time.Second, ping, echo)}, Policy{Strict: true},
			[]event{{0, ping}, {11 * time.Second, echo}}, "expired: the time after mysql 1/2 was over (10s); starts no sequence"},
		{"too late, and a first knock", []*Profile{profile("mysql", 10*time.Second, ping, echo)}, Policy{Strict: true},
			[]event{{0, ping}, {11 * time.Second, ping}}, "expired: the time after mysql 1/2 was over (10s); start: mysql 1/2"},
		{"not counted", []*Profile{profile("mysql", 10*time.Second, ping, echo)}, Policy{},
			[]event{{0, ping}, {0, sql}}, "not counted"},
		{"the fall that bans", []*Profile{profile("mysql", 10*time.Second, ping, echo)}, Policy{Strict: true, Ban: &Ban{After: 1, For: time.Minute}},
			[]event{{0, ping}, {0, sql}}, "start over: 7/tcp was expected; banned from now on"},
		{"banned", []*Profile{profile("mysql", 10*time.Second, ping, echo)}, Policy{Strict: true, Ban: &Ban{After: 1, For: time.Minute}},
			[]event{{0, ping}, {0, sql}, {0, ping}}, "banned"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := compile(t, c.profiles...)
			m := NewMachine(a, c.policy)
			now, got := time.Unix(0, 0), ""
			for _, e := range c.events {
				now = now.Add(e.wait)
				got = m.Step(Event{Time: now, Source: netip.MustParseAddr("10.9.0.1"), Knock: e.knock}).Explain(a)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
