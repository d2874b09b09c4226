package events

import (
	"encoding/json"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestASlowWatcherLosesEventsAndIsToldHowManyWhileAFastOneGetsAll(t *testing.T) {
	h := newHub()
	slow, fast := h.Watch(), h.Watch()
	got := 0
	const sent = queueLength + 100
	for range sent {
		h.Publish(Item{Notice: Notice{Kind: Knock}})
		if i := <-fast.C; i.Lost == 0 {
			got++
		}
	}
	if got != sent {
		t.Errorf("the fast one got %d of %d", got, sent)
	}
	for range queueLength {
		if i := <-slow.C; i.Lost > 0 {
			t.Fatal("told of a loss before it happened")
		}
	}
	h.Publish(Item{Notice: Notice{Kind: Grant}})
	if i := <-slow.C; i.Lost != 100 {
		t.Errorf("told of %d lost events, not of 100", i.Lost)
	}
	if i := <-slow.C; i.Notice.Kind != Grant {
		t.Errorf("then came %+v", i)
	}
}

func TestAWatcherEndsWithTheHubAndMayBeStoppedTwice(t *testing.T) {
	h := newHub()
	w, other := h.Watch(), h.Watch()
	w.Stop()
	w.Stop()
	h.Close()
	for _, c := range []<-chan Item{w.C, other.C, h.Watch().C} {
		if _, ok := <-c; ok {
			t.Error("it goes on")
		}
	}
}

func TestAnItemIsTheSameAfterTheSocket(t *testing.T) {
	for _, i := range []Item{
		{Lost: 7, Where: "here"},
		{Notice: Notice{time.Date(2030, 1, 2, 3, 4, 5, 6, time.UTC), Reset, "mysql", "10.9.0.1", 1, 3, "why", "", "", nil, false, "", nil}},
		{Notice: Notice{time.Date(2030, 1, 2, 3, 4, 5, 6, time.UTC), Grant, "admin", "10.9.0.1", 0, 0, "open for 1h", "alice", "1f2e3d4c", nil, false, "00ff", nil}},
		{Notice: Notice{time.Date(2030, 1, 2, 3, 4, 5, 6, time.UTC), Revoke, "mysql", "10.9.0.0/24", 3, 3, "why", "alice, bob", "", &By{0, "alice", "knockd revoke mysql --all"}, false, "", &Act{Kind: Revoke, Profile: "mysql", Lease: time.Hour}}},
	} {
		line, err := json.Marshal(i)
		if err != nil {
			t.Fatal(err)
		}
		var back Item
		if err := json.Unmarshal(line, &back); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(i, back, cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
			t.Error(diff)
		}
	}
}

// TestThePageOfTheServiceShowsLinesAsTheyAre: those that it has of an act.
func TestThePageOfTheServiceShowsLinesAsTheyAre(t *testing.T) {
	page, err := os.ReadFile("../../docs/service.md")
	if err != nil {
		t.Fatal(err)
	}
	n := Notice{time.Date(2030, 1, 2, 12, 7, 31, 0, time.UTC), Revoke, "mysql", "203.0.113.5", 3, 3, "the lease is revoked", "", "", &By{0, "alice", "knockd revoke mysql --all"}, false, "", nil}
	line, err := json.Marshal(Item{Notice: n})
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(page), "\n ", "")
	for _, want := range []string{n.Time.Format(time.TimeOnly) + " " + n.String() + "\n", string(line)} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	for _, k := range Kinds() {
		if !strings.Contains(text, "`"+string(k)+"`") {
			t.Errorf("the page does not explain %s", k)
		}
	}
}
