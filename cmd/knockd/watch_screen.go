package main

import (
	"slices"
	"time"

	tea "charm.land/bubbletea/v2"

	"knockkit/server/backend"
	"knockkit/server/events"
)

// How much a screen remembers, and how soon it looks at the kernel.
const (
	screenEvents = 200
	screenLook   = watchLook
	eventLook    = 200 * time.Millisecond // after an event: who is where now?
)

// screen is the state of the live view. It touches nothing: what it wants done are
// commands.
type screen struct {
	look tea.Cmd

	width, height int
	sources       []backend.Source // as of looked
	looked        time.Time
	drift         []string
	events        []events.Item // newest last
	role          events.Role
	problem       error // of the feed
	unread        error // why the kernel could not be read
	now           time.Time
	looking, soon bool
}

func newScreen(look tea.Cmd) *screen {
	return &screen{look: look, width: 80, height: 24, now: time.Now()}
}

// Init implements tea.Model.
func (s *screen) Init() tea.Cmd {
	s.looking = true
	return tea.Batch(s.look, tickCommand())
}

// wantLook asks for a look a moment later, if none is on its way.
type wantLook struct{}

// Update implements tea.Model.
func (s *screen) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch m := msg.(type) {
	case tea.WindowSizeMsg:
		s.width, s.height = m.Width, m.Height
	case tea.KeyPressMsg:
		switch m.String() {
		case "q", "esc", "ctrl+c":
			return s, tea.Quit
		case "c":
			s.events = nil
		}
	case itemMsg:
		s.events = append(s.events, events.Item(m))
		if len(s.events) > screenEvents {
			s.events = slices.Clone(s.events[len(s.events)-screenEvents:])
		}
		if !s.soon {
			s.soon = true
			return s, tea.Tick(eventLook, func(time.Time) tea.Msg { return wantLook{} })
		}
	case wantLook:
		s.soon = false
		return s, s.lookNow()
	case roleMsg:
		s.role, s.problem = m.role, m.err
	case lookMsg:
		s.looking = false
		if s.unread = m.err; m.err == nil {
			s.sources, s.drift, s.looked = m.sources, m.drift, m.at
		}
	case tickMsg:
		s.now = time.Time(m)
		if s.now.Sub(s.looked) > screenLook {
			return s, tea.Batch(tickCommand(), s.lookNow())
		}
		return s, tickCommand()
	}
	return s, nil
}

func (s *screen) lookNow() tea.Cmd {
	if s.looking {
		return nil
	}
	s.looking = true
	return s.look
}

// left is how long a source still has, or false when its time is over.
func (s *screen) left(src backend.Source) (time.Duration, bool) {
	if src.Unlimited {
		return 0, true
	}
	left := src.Left - s.now.Sub(s.looked)
	return left, left > 0
}
