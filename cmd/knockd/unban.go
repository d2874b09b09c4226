package main

import (
	"fmt"
	"net/netip"

	"github.com/urfave/cli/v2"

	"knockkit/internal/command"
	"knockkit/protocol"
	"knockkit/server/service"
)

func unbanCommand() *cli.Command {
	return &cli.Command{
		Name:        "unban",
		Usage:       "lift the ban of an address, those inside a prefix, or all",
		ArgsUsage:   "ADDR|PREFIX|--all",
		Description: "It also forgets the falls counted so far.\n\nExample:\n  knockd unban 198.51.100.7\n  knockd unban --all",
		Flags:       []cli.Flag{&cli.BoolFlag{Name: "all", Usage: "lift all bans"}},
		Action:      on(unban),
	}
}

func unban(h *host) error {
	c := h.c
	var who netip.Prefix
	var err error
	switch all := c.Bool("all"); {
	case c.NArg() == 0 && !all:
		return command.NoArgument(c)
	case c.NArg() > 0 && all:
		return command.Usagef("see knockd unban --help", "--all and an address exclude each other")
	case !all:
		if who, err = parseWho(c, c.Args().First()); err != nil {
			return err
		}
	}
	s, err := h.live(c.Context)
	if err != nil {
		return err
	}
	lifted, err := s.Unban(c.Context, who)
	if err != nil {
		return explainError(err)
	}
	service.Nudge(c.Context)
	if len(lifted) == 0 && who.IsValid() && who.IsSingleIP() {
		h.words.Note("%s was not banned", protocol.PrefixText(who))
		return nil
	}
	h.words.Note("%s", unbanned(lifted))
	return nil
}

// unbanned prints the addresses whose bans were lifted.
func unbanned(lifted []netip.Addr) string {
	if len(lifted) == 1 {
		return fmt.Sprintf("the ban of %s is lifted", lifted[0])
	}
	return fmt.Sprintf("bans lifted: %d", len(lifted))
}
