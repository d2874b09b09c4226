package main

import (
	"context"
	"errors"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"

	"knockkit/internal/command"
	"knockkit/internal/say"
	"knockkit/server"
	"knockkit/server/backend"
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

// watchLook is how often the kernel is looked at while somebody watches.
const watchLook = 5 * time.Second

func watch(c *cli.Context) error {
	if c.NArg() > 0 {
		return command.Usagef("see: knockd watch --help", "knockd watch takes no names")
	}
	h, err := open(c)
	if err != nil {
		return err
	}
	clock := events.SystemClock()
	look := h.looker(clock)
	if _, err := look(c.Context); err != nil {
		return explainError(err)
	}
	feed := events.NewFeed(clock, look)
	feed.Every = watchLook
	if say.IsTerminal(c.App.Writer) && !c.Bool("json") && !c.Bool("plain") {
		return h.liveView(feed, look)
	}
	feed.Say = func(r events.Role, err error) {
		switch {
		case err != nil:
			h.words.Warning("it %s: %v", r, err)
		default:
			h.words.Note("watching: %s", r)
		}
	}
	show := h.plain
	if c.Bool("json") {
		show = h.jsonLine
	}
	return h.follow(feed, show)
}

// looker returns a function that reads the kernel through whichever backend holds
// rules at the moment. Several goroutines may call it.
func (h *host) looker(clock events.Clock) events.Look {
	return func(ctx context.Context) (events.Seen, error) {
		began := clock()
		b, _, err := server.OpenLive(ctx, h.backendName())
		if err != nil {
			return events.Seen{}, explainError(err)
		}
		r, err := server.New(b, h.settings).Read(ctx, 0)
		return events.Seen{Began: began, Reading: r}, err
	}
}

// follow shows every item until the program is told to stop.
func (h *host) follow(feed *events.Feed, show func(events.Item) error) error {
	w := feed.Hub.Watch()
	group, ctx := errgroup.WithContext(h.c.Context)
	group.Go(func() error { return feed.Run(ctx) })
	group.Go(func() error {
		for i := range w.C {
			if err := show(i); err != nil {
				return err
			}
		}
		return nil
	})
	err := group.Wait()
	if errors.Is(err, backend.ErrPrivilege) {
		return explainError(err)
	}
	return err
}

// plain shows an item as a line with the time of day.
func (h *host) plain(i events.Item) error {
	if i.Lost > 0 {
		h.words.Warning("%s", i)
		return nil
	}
	return say.Print(h.c.App.Writer, "%s %s", i.Event.Time.Local().Format(time.TimeOnly), i.Event)
}

// jsonLine shows an event as an object. Lost events are no events: they are said on
// standard error.
func (h *host) jsonLine(i events.Item) error {
	if i.Lost > 0 {
		h.words.Warning("%s", i)
		return nil
	}
	return say.JSON(h.c.App.Writer, "", i.Event)
}
