package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"knockkit/internal/say"
	"knockkit/server/events"
)

func TestLinesThatWaitForMoreOfTheirKind(t *testing.T) {
	began := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	type at struct {
		ms      int
		kind    events.Kind // "": time passes
		address string
		detail  string
		lost    uint64
	}
	denied := func(ms int) at { return at{ms, events.Denied, "a", "why", 0} }
	for _, c := range []struct {
		name string
		what []at
		want []string // "ms: line"
	}{
		{"a burst is one line", []at{denied(0), denied(10), denied(20), {ms: 499}, {ms: 500}}, []string{"500: a: why ×3"}},
		{"one alone has no count", []at{denied(0), {ms: 500}}, []string{"500: a: why"}},
		{"what follows a line is one more", []at{denied(0), {ms: 500}, denied(1000), denied(3000), {ms: 5999}, {ms: 6000}}, []string{"500: a: why", "6000: a: why ×2"}},
		{"much later a line is one of its own", []at{denied(0), {ms: 500}, {ms: 10500}, denied(10600), {ms: 11100}}, []string{"500: a: why", "11100: a: why"}},
		{"another reason", []at{denied(0), {1, events.Denied, "a", "other", 0}, {ms: 501}}, []string{"1: a: why", "501: a: other"}},
		{"another source", []at{denied(0), {1, events.Denied, "b", "why", 0}, denied(2), {ms: 501}}, []string{"501: a: why ×2", "501: b: why"}},
		{"lines of a source keep their order", []at{denied(0), denied(1), {2, events.Knock, "a", "knock", 0}, denied(3), {ms: 503}}, []string{"2: a: why ×2", "2: a: knock", "503: a: why"}},
		{"others wait for nothing", []at{denied(0), {1, events.Knock, "b", "knock", 0}, {2, events.Knock, "b", "knock", 0}, {ms: 500}}, []string{"1: b: knock", "2: b: knock", "500: a: why"}},
		{"lost events are no event", []at{denied(0), {ms: 1, lost: 7}, denied(2), {ms: 500}}, []string{"1: 7 events were lost: here", "500: a: why ×2"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var fold plainFold
			var got []string
			for _, a := range c.what {
				now := began.Add(time.Duration(a.ms) * time.Millisecond)
				var lines []folded
				switch {
				case a.lost > 0:
					lines = fold.add(now, events.Item{Lost: a.lost, Where: "here"})
				case a.kind == "":
					lines = fold.take(now)
				default:
					lines = fold.add(now, events.Item{Notice: events.Notice{Time: now, Kind: a.kind, Address: a.address, Detail: a.detail}})
				}
				for _, l := range lines {
					got = append(got, fmt.Sprintf("%d: %s", a.ms, &l))
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestALineThatNothingWaitsBehindIsNotHeldForEver(t *testing.T) {
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	var fold plainFold
	fold.add(now, events.Item{Notice: events.Notice{Time: now, Kind: events.Denied, Address: "a"}})
	for range 3 {
		at, any := fold.next()
		if !any {
			return
		}
		fold.take(at)
	}
	t.Errorf("%d lines wait", len(fold.waiting))
}

func TestTheUsualLinesAreWithinEightyColumns(t *testing.T) {
	for detail, times := range map[string]int{
		"no lease for 3306/tcp: knock 2 was 8000/tcp":       10,
		"no lease for 3306/tcp: no knock 2 within 10s":      10,
		"no lease for 3306/tcp: no knock was seen":          10,
		"starts over: knock 2 was 48000/tcp, not 47000/udp": 1,
		"open for 30m, for one connection, by alice":        1,
	} {
		f := folded{Item: events.Item{Notice: events.Notice{Profile: "mysql", Address: "203.0.113.5", Detail: detail}}, times: times}
		if w := len("03:04:05 ") + say.Width(f.String()); w > 80 {
			t.Errorf("%d columns: %s", w, &f)
		}
	}
}
