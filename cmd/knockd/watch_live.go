package main

import (
	"context"
	"errors"
	"time"

	tea "charm.land/bubbletea/v2"
	"golang.org/x/sync/errgroup"

	"knockkit/server/backend"
	"knockkit/server/events"
)

// liveTick is how often the times on the screen run down.
const liveTick = time.Second

// What the view is told, beside keys and the size of the window.
type (
	itemMsg events.Item
	roleMsg struct {
		role events.Role
		err  error
	}
	lookMsg struct {
		sources []backend.Source
		drift   []string
		at      time.Time
		err     error
	}
	tickMsg time.Time
)

// liveView shows the live view until a key ends it.
func (h *host) liveView(feed *events.Feed, look events.Look) error {
	ctx, cancel := context.WithCancel(h.c.Context)
	defer cancel()
	program := tea.NewProgram(newScreen(lookCommand(ctx, look)), tea.WithContext(ctx), tea.WithOutput(h.c.App.Writer))
	feed.Say = func(r events.Role, err error) { program.Send(roleMsg{r, err}) }
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
	if errors.Is(err, backend.ErrPrivilege) {
		return explainError(err)
	}
	return err
}

// lookCommand reads the kernel for the view.
func lookCommand(ctx context.Context, look events.Look) tea.Cmd {
	return func() tea.Msg {
		seen, err := look(ctx)
		if err != nil {
			return lookMsg{at: time.Now(), err: err}
		}
		return lookMsg{seen.Sources, seen.Drift, time.Now(), nil}
	}
}

func tickCommand() tea.Cmd {
	return tea.Tick(liveTick, func(t time.Time) tea.Msg { return tickMsg(t) })
}
