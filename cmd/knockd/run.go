package main

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"knockkit/internal/command"
	"knockkit/internal/config"
	"knockkit/protocol"
	"knockkit/server"
	"knockkit/server/doctor"
	"knockkit/server/keys"
	"knockkit/server/service"
)

func runCommand() *cli.Command {
	return &cli.Command{
		Name:  "run",
		Usage: "keep the rules in force: install at the start, reload, repair and log, until stopped",
		Description: `Installs every enabled profile, again when a file changes or on SIGHUP, and repairs the
rules when another tool has changed them. Leases survive that. The rules stay when it
ends, and sequences still open. Signed profiles need the service: they are shut within a
minute.

Example:
  knockd run
  knockd run --remove-on-exit    # for trying things out`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "remove-on-exit", Usage: "take the rules away at the end"},
			&cli.BoolFlag{Name: "allow-lockout", Usage: "close the port of your own SSH session"},
			&cli.BoolFlag{Name: "verbose", Usage: "log every event, not only leases and bans"},
		},
		Action: runService,
	}
}

// memoryLimit is what the service aims to live in: it makes the collector work
// harder, and never fails.
const memoryLimit = 16 << 20

func runService(c *cli.Context) error {
	h, err := open(c)
	if err != nil {
		return err
	}
	debug.SetMemoryLimit(memoryLimit)
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	defer signal.Stop(reload)
	conf := service.Config{
		Folder: h.folders.Dirs[0],
		Load:   func() (service.Wanted, error) { return loadWanted(c) },
		Open:   h.openHost,
		Shadows: func(ctx context.Context, r *server.Reading, n server.Network, profiles []*protocol.Profile) []server.Reason {
			certain, _, _ := doctor.Shadows(ctx, doctor.ShadowInput{Backend: h.runs, Profiles: profiles, Network: n, Saved: r.Saved})
			return certain
		},
		Keys:  keys.FolderOf(h.folders.Dirs[0]).List,
		State: keys.StoreOf(h.folders.Dirs[0], os.Getenv),
		Fleet: func(s server.Settings) (service.Fleet, error) {
			if s.Fleet != nil {
				debug.SetMemoryLimit(math.MaxInt64) // the statements of all nodes take what they take
			}
			return joinFleet(s, h.logger(c.Bool("verbose")), c.Bool("verbose"))
		},
		Reload:       reload,
		RemoveOnExit: c.Bool("remove-on-exit"),
		Log:          h.logger(c.Bool("verbose")),
	}
	if session, found := server.FindSession(); found && !c.Bool("allow-lockout") {
		conf.Guard = server.RefuseLockout(session)
	}
	err = service.Run(c.Context, conf)
	var running *service.RunningError
	if errors.As(err, &running) {
		return &command.Error{Code: command.Failed, Err: err, Hint: "to see what it does: knockd watch"}
	}
	return explainService(err)
}

// explainService gives an error its advice, unless it has some.
func explainService(err error) error {
	var e *command.Error
	if err == nil || errors.As(err, &e) {
		return err
	}
	return explainError(err)
}

// openHost returns the server that runs with these settings.
func (h *host) openHost(ctx context.Context, s server.Settings) (service.Host, error) {
	name := s.Backend
	b, why, err := server.OpenBackend(ctx, name, h.toRun()...)
	if err != nil {
		return nil, explainError(err)
	}
	h.why, h.runs = why, b.Name()
	return server.New(b, s), nil
}

// loadWanted reads the configuration folder anew.
func loadWanted(c *cli.Context) (service.Wanted, error) {
	h, err := open(c)
	if err != nil {
		return service.Wanted{}, oneLine(err)
	}
	entries, err := h.folders.List()
	if err != nil {
		return service.Wanted{}, usage(err)
	}
	w := service.Wanted{Settings: h.settings, Files: len(entries)}
	for _, e := range entries {
		switch {
		case e.Err != nil:
			w.Broken = append(w.Broken, server.BrokenFile{Profile: e.Name, Err: oneLine(e.Err)})
		case e.Profile.Enabled:
			w.Profiles = append(w.Profiles, e.Profile)
		}
	}
	return w, nil
}

// oneLine makes an error fit for a log: with the place of the first mistake, and
// without its picture.
func oneLine(err error) error {
	var broken *config.BrokenError
	if errors.As(err, &broken) {
		if first := broken.Diagnostics.Errors(); len(first) > 0 {
			return &locatedError{err, first[0].File, first[0].Line, first[0].Message}
		}
	}
	var e *command.Error
	if errors.As(err, &e) && e.Detail != "" {
		first, _, _ := strings.Cut(e.Detail, "\n")
		return &locatedError{err: err, message: first}
	}
	return err
}

// logger writes to standard error: key=value lines, without the time where the
// journal adds its own.
func (h *host) logger(verbose bool) *slog.Logger {
	o := &slog.HandlerOptions{Level: slog.LevelInfo}
	if verbose {
		o.Level = slog.LevelDebug
	}
	if os.Getenv("JOURNAL_STREAM") != "" {
		o.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}
	}
	return slog.New(slog.NewTextHandler(h.c.App.ErrWriter, o))
}
