package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
	"golang.org/x/sync/errgroup"

	"knockkit/internal/say"
	"knockkit/protocol"
	"knockkit/server"
	"knockkit/server/events"
)

// liveTick is how often the times on the screen run down.
const liveTick = time.Second

// The messages to the view, beside keys and the size of the window.
type (
	itemMsg events.Item
	roleMsg struct {
		role events.Role
		err  error
	}
	readMsg struct {
		sources []server.Source
		drift   []string
		at      time.Time
		err     error
	}
	tickMsg time.Time
)

// liveView shows the live view until a key ends it.
func (h *host) liveView(feed *events.Feed, read events.ReadFunc) error {
	ctx, cancel := context.WithCancel(h.c.Context)
	defer cancel()
	program := tea.NewProgram(newScreen(readCommand(ctx, read)), tea.WithContext(ctx), tea.WithOutput(h.c.App.Writer))
	feed.OnRole = func(r events.Role, err error) { program.Send(roleMsg{r, err}) }
	w := feed.Hub.Watch()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer program.Quit()
		return feed.Run(ctx)
	})
	group.Go(func() error {
		for i := range w.C {
			program.Send(itemMsg(i))
		}
		return nil
	})
	_, err := program.Run()
	cancel()
	if errors.Is(err, tea.ErrProgramKilled) && h.c.Context.Err() != nil {
		err = nil // told to stop
	}
	err = errors.Join(err, group.Wait())
	if errors.Is(err, server.ErrPrivilege) {
		return explainError(err)
	}
	return err
}

// readCommand reads the kernel for the view.
func readCommand(ctx context.Context, read events.ReadFunc) tea.Cmd {
	return func() tea.Msg {
		snapshot, err := read(ctx)
		if err != nil {
			return readMsg{at: time.Now(), err: err}
		}
		return readMsg{snapshot.Sources, snapshot.Drift, time.Now(), nil}
	}
}

func tickCommand() tea.Cmd {
	return tea.Tick(liveTick, func(t time.Time) tea.Msg { return tickMsg(t) })
}

// styles are the colours of the live view: the terminal's own.
type styles struct{ head, good, bad, way, dim lipgloss.Style }

func newStyles() styles {
	color := func(n string) lipgloss.Style { return lipgloss.NewStyle().Foreground(lipgloss.Color(n)) }
	return styles{lipgloss.NewStyle().Bold(true), color("2"), color("1"), color("3"), lipgloss.NewStyle().Faint(true)}
}

// ofKind is the colour of an event.
func (st styles) ofKind(k events.Kind) lipgloss.Style {
	switch k {
	case events.Grant:
		return st.good
	case events.Reset, events.Denied, events.Ban:
		return st.bad
	case events.Knock:
		return st.way
	}
	return st.dim
}

// View implements tea.Model.
func (s *screen) View() tea.View {
	st := newStyles()
	var lines []string
	add := func(style lipgloss.Style, text string) {
		lines = append(lines, style.Render(say.Cut(say.Plain(text), s.width)))
	}
	add(st.head, fmt.Sprintf("knockd watch  %s", s.now.Format(time.TimeOnly)))
	for _, err := range []error{s.problem, s.unread} {
		if err != nil {
			add(st.bad, err.Error())
		}
	}
	for _, d := range s.drift {
		add(st.bad, "drift: "+d)
	}
	lines = append(lines, "")
	s.drawSources(add, st)
	lines = append(lines, "")
	lines = append(lines, s.drawEvents(max(s.height-len(lines)-1, 3), st)...)
	if len(s.events) == 0 {
		add(st.dim, "nothing has happened yet")
	}
	for len(lines) < s.height-1 {
		lines = append(lines, "")
	}
	add(st.dim, fmt.Sprintf("%s · q: quit  c: clear", s.role))
	v := tea.NewView(strings.Join(lines, "\n"))
	v.AltScreen = true
	return v
}

// drawEvents returns the newest events, in at most so many lines. An event that is wider than the
// screen goes on in the next line, below its words: its reason is at its end.
func (s *screen) drawEvents(room int, st styles) (lines []string) {
	const margin = len(time.TimeOnly) + 1
	for n := len(s.events) - 1; n >= 0; n-- {
		e := &s.events[n]
		style, head := st.bad, ""
		if e.Lost == 0 {
			style, head = st.ofKind(e.Notice.Kind), e.Notice.Time.Local().Format(time.TimeOnly)
		}
		var drawn []string
		for text := range strings.Lines(lipgloss.Wrap(say.Plain(e.String()), max(s.width-margin, 1), "")) {
			drawn = append(drawn, style.Render(say.Cut(say.Pad(head, margin)+strings.TrimSpace(text), s.width)))
			head = ""
		}
		if len(drawn) > room {
			break
		}
		room -= len(drawn)
		lines = append(drawn, lines...)
	}
	return lines
}

// drawSources shows the sources with a position, a lease or a ban: at most half a screen.
func (s *screen) drawSources(add func(lipgloss.Style, string), st styles) {
	room := max(s.height/2-2, 3)
	alive := slices.DeleteFunc(slices.Clone(s.sources), func(src server.Source) bool { _, alive := s.left(src); return !alive })
	shown := alive[:min(len(alive), room)]
	address, profile := 15, 8
	for _, src := range shown {
		address, profile = max(address, len(protocol.PrefixText(src.Address))), max(profile, len(src.Profile))
	}
	for _, src := range shown {
		end := "no end"
		if left, _ := s.left(src); !src.Unlimited {
			end = say.Duration(left)
		}
		style := map[server.SourceState]lipgloss.Style{server.Open: st.good, server.Knocking: st.way, server.Banned: st.bad}[src.State]
		// The dots, or the users of a signed profile, come last: they may be cut, and the time left may not.
		add(style, fmt.Sprintf("%-*s %-*s %-8s %-7s %s", address, protocol.PrefixText(src.Address), profile, src.Profile, src.State, end, cmp.Or(dots(src), usersText(src))))
	}
	if len(shown) == 0 {
		add(st.dim, "nobody has knocked")
	}
	if hidden := len(alive) - len(shown); hidden > 0 {
		add(st.dim, fmt.Sprintf("and %d more: knockd status", hidden))
	}
}
