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
		Detail: "starts over: knock 2 was 8000/tcp, not 7/tcp"}}))
	s.Update(itemMsg(events.Item{Lost: 12, Where: "this reader is too slow"}))
	s.Update(tickMsg(now.Add(3 * time.Second)))
	want := `knockd watch  03:04:08

10.9.0.1        mysql    open     59m 57s ●●●
10.9.0.2        mysql    knocking 5s      ●●○
2001:db8:9::/64 web      open     no end  ●●

03:04:05 10.9.0.3: mysql: starts over: knock 2 was 8000/tcp, not 7/tcp
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

// TestAnEightyColumnScreenShowsReasonsAndTheTimeLeft: also of the longest addresses and names.
func TestAnEightyColumnScreenShowsReasonsAndTheTimeLeft(t *testing.T) {
	s, now := newTestScreen()
	s.Update(tea.WindowSizeMsg{Width: 80, Height: 16})
	const address, name = "2001:db8:1111:2222:3333:4444:5555:6666", "a-name-of-20-letters"
	s.Update(roleMsg{role: events.Listener})
	s.Update(readMsg{at: now, sources: []server.Source{
		{Profile: name, Address: netip.MustParsePrefix(address + "/128"), State: server.Knocking, Step: 2, Steps: 16, Left: 59*time.Minute + 57*time.Second},
		{Profile: "mysql", Address: netip.MustParsePrefix("10.9.0.1/32"), State: server.Open, Step: 3, Steps: 3, Left: time.Hour},
	}})
	s.Update(itemMsg(events.Item{Notice: events.Notice{Time: now, Kind: events.Reset, Profile: name, Address: address, Detail: "starts over: knock 2 was 48000/tcp, not 47000/udp"}}))
	for range 10 {
		s.Update(itemMsg(events.Item{Notice: events.Notice{Time: now, Kind: events.Denied, Profile: name, Address: address, Detail: "no lease for 33060/tcp: knock 2 was 48000/tcp"}}))
	}
	s.Update(itemMsg(events.Item{Notice: events.Notice{Time: now, Kind: events.Denied, Profile: "mysql", Address: "10.9.0.3", Detail: "no lease for 3306/tcp: no knock was seen"}}))
	want := `knockd watch  03:04:05

2001:db8:1111:2222:3333:4444:5555:6666 a-name-of-20-letters knocking 59m 57s ●●…
10.9.0.1                               mysql                open     1h      ●●●

03:04:05 2001:db8:1111:2222:3333:4444:5555:6666: a-name-of-20-letters: starts
         over: knock 2 was 48000/tcp, not 47000/udp
03:04:05 2001:db8:1111:2222:3333:4444:5555:6666: a-name-of-20-letters: no lease
         for 33060/tcp: knock 2 was 48000/tcp ×10
03:04:05 10.9.0.3: mysql: no lease for 3306/tcp: no knock was seen





listens to the kernel · q: quit  c: clear`
	if got := drawn(s); got != want {
		t.Errorf("it shows\n%s\nwant\n%s", got, want)
	}
	s.Update(tea.WindowSizeMsg{Width: 80, Height: 9}) // the newest stay
	if got := drawn(s); strings.Count(got, "\n") > 8 || !strings.Contains(got, "×10\n03:04:05 10.9.0.3") || strings.Contains(got, "starts") {
		t.Errorf("a low screen shows\n%s", got)
	}
}
