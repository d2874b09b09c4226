package main

import (
	"context"
	"errors"
	"slices"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"

	"knockkit/internal/say"
	"knockkit/server"
	"knockkit/server/events"
)

func watchCommand() *cli.Command {
	return &cli.Command{
		Name:  "watch",
		Usage: "see who knocks, who gets in, and why somebody does not",
		Description: `A live view on a terminal, plain lines in a pipe. It works with and without a running
` + "`knockd run`" + `, and as often at once as you like.

Example:
  knockd watch
  knockd watch --json | jq 'select(.event == "denied")'`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "json", Usage: "print an object a line"},
			&cli.BoolFlag{Name: "plain", Usage: "print lines on a terminal too"},
		},
		Action: watch,
	}
}

// watchRead is how often the kernel is read while somebody watches.
const watchRead = 5 * time.Second

func watch(c *cli.Context) error {
	h, err := open(c)
	if err != nil {
		return err
	}
	clock := events.SystemClock()
	read := h.reader(clock)
	if _, err := read(c.Context); err != nil {
		return explainError(err)
	}
	feed := events.NewFeed(clock, read)
	feed.Every = watchRead
	if say.IsTerminal(c.App.Writer) && !c.Bool("json") && !c.Bool("plain") {
		return h.liveView(feed, read)
	}
	feed.OnRole = func(r events.Role, err error) {
		switch {
		case err != nil:
			h.words.Warning("it %s: %v", r, err)
		default:
			h.words.Note("watching: %s", r)
		}
	}
	show := h.plain
	if c.Bool("json") {
		show = h.objects
	}
	return h.follow(feed, show)
}

// reader returns a function that reads the kernel through whichever backend holds
// rules at the moment. Several goroutines may call it.
func (h *host) reader(clock events.Clock) events.ReadFunc {
	return func(ctx context.Context) (events.Snapshot, error) {
		began := clock()
		b, _, err := server.OpenLive(ctx, h.backendName())
		if err != nil {
			return events.Snapshot{}, explainError(err)
		}
		r, err := server.New(b, h.settings).Read(ctx, 0)
		return events.Snapshot{Began: began, Reading: r}, err
	}
}

// follow shows all items until the program is told to stop.
func (h *host) follow(feed *events.Feed, show func(<-chan events.Item) error) error {
	w := feed.Hub.Watch()
	group, ctx := errgroup.WithContext(h.c.Context)
	group.Go(func() error { return feed.Run(ctx) })
	group.Go(func() error { return show(w.C) })
	err := group.Wait()
	if errors.Is(err, server.ErrPrivilege) {
		return explainError(err)
	}
	return err
}

// plain shows items as lines with the time of day. Lost events are no events: they are said on
// standard error.
func (h *host) plain(items <-chan events.Item) error {
	var fold plainFold
	var due <-chan time.Time // nil: nothing waits
	for {
		var lines []folded
		select {
		case i, ok := <-items:
			if !ok {
				return h.lines(fold.waiting)
			}
			lines = fold.add(time.Now(), i)
		case now := <-due:
			lines = fold.take(now)
		}
		if err := h.lines(lines); err != nil {
			return err
		}
		due = nil
		if at, any := fold.next(); any {
			due = time.After(time.Until(at))
		}
	}
}

func (h *host) lines(all []folded) error {
	for _, l := range all {
		switch {
		case l.Lost > 0:
			h.words.Warning("%s", l.Item)
		case l.times > 0:
			if err := say.Print(h.c.App.Writer, "%s %s", l.Notice.Time.Local().Format(time.TimeOnly), &l); err != nil {
				return err
			}
		}
	}
	return nil
}

// objects shows events as objects, and says on standard error how many were lost.
func (h *host) objects(items <-chan events.Item) error {
	for i := range items {
		if i.Lost > 0 {
			h.words.Warning("%s", i)
			continue
		}
		i.Notice.Act, i.Notice.Token = nil, "" // they are for the service
		if err := say.JSON(h.c.App.Writer, "", i.Notice); err != nil {
			return err
		}
	}
	return nil
}

// How much a screen keeps, and how soon it reads the kernel.
const (
	screenEvents = 200
	screenRead   = watchRead
	eventRead    = 200 * time.Millisecond // after a notice, for the sources
)

// screen is the state of the live view. It touches nothing: what it wants done are
// commands.
type screen struct {
	read tea.Cmd

	width, height int
	sources       []server.Source // as of readAt
	readAt        time.Time
	drift         []string
	events        []folded // newest last
	role          events.Role
	problem       error // of the feed
	unread        error // why the kernel could not be read
	now           time.Time
	reading, soon bool
}

func newScreen(read tea.Cmd) *screen {
	return &screen{read: read, width: 80, height: 24, now: time.Now()}
}

// Init implements tea.Model.
func (s *screen) Init() tea.Cmd {
	s.reading = true
	return tea.Batch(s.read, tickCommand())
}

// wantRead asks for a reading a moment later, if none is on its way.
type wantRead struct{}

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
		s.events = foldInto(s.events, events.Item(m))
		if len(s.events) > screenEvents {
			s.events = slices.Clone(s.events[len(s.events)-screenEvents:])
		}
		if !s.soon {
			s.soon = true
			return s, tea.Tick(eventRead, func(time.Time) tea.Msg { return wantRead{} })
		}
	case wantRead:
		s.soon = false
		return s, s.readNow()
	case roleMsg:
		s.role, s.problem = m.role, m.err
	case readMsg:
		s.reading = false
		if s.unread = m.err; m.err == nil {
			s.sources, s.drift, s.readAt = m.sources, m.drift, m.at
		}
	case tickMsg:
		s.now = time.Time(m)
		if s.now.Sub(s.readAt) > screenRead {
			return s, tea.Batch(tickCommand(), s.readNow())
		}
		return s, tickCommand()
	}
	return s, nil
}

func (s *screen) readNow() tea.Cmd {
	if s.reading {
		return nil
	}
	s.reading = true
	return s.read
}

// left is how long a source still has, or false when its time is over.
func (s *screen) left(src server.Source) (time.Duration, bool) {
	if src.Unlimited {
		return 0, true
	}
	left := src.Left - s.now.Sub(s.readAt)
	return left, left > 0
}
