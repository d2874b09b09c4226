package main

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"knockkit/server"
	"knockkit/server/events"
)

// drawn is the screen as a person sees it, without colours and the space behind lines.
func drawn(s *screen) string {
	var lines []string
	for line := range strings.Lines(ansi.Strip(s.View().Content)) {
		lines = append(lines, strings.TrimRight(line, " \n"))
	}
	return strings.Join(lines, "\n")
}

func newTestScreen() (*screen, time.Time) {
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.Local)
	s := newScreen(func() tea.Msg { return nil })
	s.now = now
	s.Update(tea.WindowSizeMsg{Width: 90, Height: 14})
	return s, now
}

func TestTheLiveViewShowsDotsForStepsAndTheLeasesTimeRunningDown(t *testing.T) {
	s, now := newTestScreen()
	s.Update(roleMsg{role: events.Listener})
	s.Update(readMsg{at: now, sources: []server.Source{
		{Profile: "mysql", Address: netip.MustParsePrefix("10.9.0.1/32"), State: server.Open, Step: 3, Steps: 3, Left: time.Hour},
		{Profile: "mysql", Address: netip.MustParsePrefix("10.9.0.2/32"), State: server.Knocking, Step: 2, Steps: 3, Left: 8 * time.Second},
		{Profile: "web", Address: netip.MustParsePrefix("2001:db8:9::/64"), State: server.Open, Step: 2, Steps: 2, Unlimited: true},
	}})
	s.Update(itemMsg(events.Item{Notice: events.Notice{Time: now, Kind: events.Reset, Profile: "mysql", Address: "10.9.0.3", Step: 1, Steps: 3,
		Detail: "after knock 1 of 3 came 8000/tcp, expected 7/tcp: starts over"}}))
	s.Update(itemMsg(events.Item{Lost: 12, Where: "this reader is too slow"}))
	s.Update(tickMsg(now.Add(3 * time.Second)))
	want := `knockd watch  03:04:08

10.9.0.1                 mysql                open     ●●●              59m 57s
10.9.0.2                 mysql                knocking ●●○              5s
2001:db8:9::/64          web                  open     ●●               no end

03:04:05 10.9.0.3: mysql: after knock 1 of 3 came 8000/tcp, expected 7/tcp: starts over
12 events were lost: this reader is too slow





listens to the kernel · q: quit  c: clear`
	if got := drawn(s); got != want {
		t.Errorf("it shows\n%s\nwant\n%s", got, want)
	}
	s.Update(tickMsg(now.Add(9 * time.Second)))
	if strings.Contains(drawn(s), "10.9.0.2") {
		t.Error("a position whose time is over is shown")
	}
}

func TestTheLiveViewNeverOutgrowsItsWindow(t *testing.T) {
	s, now := newTestScreen()
	var many []server.Source
	for i := range 100 {
		many = append(many, server.Source{Profile: "mysql", Address: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 9, 0, byte(i)}), 32), State: server.Open, Left: time.Hour})
	}
	s.Update(readMsg{at: now, sources: many, drift: []string{"INPUT does not jump to KNOCKD"}})
	for range 3 * screenEvents {
		s.Update(itemMsg(events.Item{Notice: events.Notice{Time: now, Kind: events.Knock, Detail: strings.Repeat("long ", 50)}}))
	}
	lines := strings.Split(drawn(s), "\n")
	if len(lines) > 14 || len(s.events) > screenEvents {
		t.Errorf("%d lines, %d events", len(lines), len(s.events))
	}
	for _, l := range lines {
		if ansi.StringWidth(l) > 90 {
			t.Errorf("%d columns: %q", ansi.StringWidth(l), l)
		}
	}
	if !strings.Contains(drawn(s), "more: knockd status") {
		t.Error("it does not say that there are more")
	}
}

func TestKeysEndAndClearTheLiveView(t *testing.T) {
	s, now := newTestScreen()
	s.Update(itemMsg(events.Item{Notice: events.Notice{Time: now, Kind: events.Knock}}))
	s.Update(tea.KeyPressMsg{Code: 'c', Text: "c"})
	if len(s.events) != 0 {
		t.Error("c does not clear")
	}
	for _, key := range []tea.KeyPressMsg{{Code: 'q', Text: "q"}, {Code: 'c', Mod: tea.ModCtrl}, {Code: tea.KeyEscape}} {
		if _, do := s.Update(key); do == nil {
			t.Errorf("%s does not end it", key)
		} else if _, quit := do().(tea.QuitMsg); !quit {
			t.Errorf("%s does something else", key)
		}
	}
}

func TestTheLiveViewSaysWhatFailed(t *testing.T) {
	s, _ := newTestScreen()
	s.Update(readMsg{err: errors.New("iptables-save: no such table")})
	if !strings.Contains(drawn(s), "iptables-save: no such table") {
		t.Error(drawn(s))
	}
	s.Update(readMsg{})
	if strings.Contains(drawn(s), "no such table") {
		t.Error("it still says so")
	}
}
