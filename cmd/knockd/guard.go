package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/urfave/cli/v2"

	"knockkit/internal/say"
	"knockkit/server"
	"knockkit/server/events"
)

// guardCommand is how `install --try` runs the program a second time.
func guardCommand() *cli.Command {
	return &cli.Command{
		Name:   server.GuardCommand,
		Usage:  "put rules back (used by install --try)",
		Hidden: true,
		Action: func(c *cli.Context) error {
			// It outlives the terminal and the process that it guards.
			signal.Ignore(syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM, syscall.SIGPIPE)
			untold, err := server.RunGuard(c.Context, os.Stdin, func(name string) (*server.Server, error) {
				b, _, err := server.OpenBackend(c.Context, name)
				s := server.New(b, server.Settings{})
				s.Acted = events.Tell
				return s, err
			})
			if untold && err == nil {
				say.To("knockd", c.App.ErrWriter).Note("the old rules are back")
			}
			if err != nil {
				return fmt.Errorf("the guard of a trial: %w", err)
			}
			return nil
		},
	}
}
