package main

import (
	"net/netip"
	"time"

	"github.com/urfave/cli/v2"

	"knockkit/internal/command"
	"knockkit/internal/say"
	"knockkit/protocol"
	"knockkit/server/service"
)

func grantCommand() *cli.Command {
	return &cli.Command{
		Name:        "grant",
		Usage:       "give an address a lease without a knock",
		ArgsUsage:   "NAME ADDR",
		Description: "Example:\n  knockd grant mysql 198.51.100.7\n  knockd grant mysql 198.51.100.7 --for 30m",
		Flags:       []cli.Flag{&cli.StringFlag{Name: "for", Usage: "for `TIME` instead of the profile's lease, as 30m or 2d"}},
		Action:      grant,
	}
}

// nameAndAddress returns the two arguments of grant and revoke.
func nameAndAddress(c *cli.Context) (string, netip.Addr, error) {
	if c.NArg() == 0 {
		return "", netip.Addr{}, command.Help(c)
	}
	see := "see " + c.Command.HelpName + " --help"
	if c.NArg() != 2 {
		return "", netip.Addr{}, command.Usagef(see, "%s takes a profile and an address", c.Command.HelpName)
	}
	addr, err := netip.ParseAddr(c.Args().Get(1))
	if err != nil || addr.Zone() != "" { // the kernel's rules know no zones
		return "", addr, command.Usagef("for example: "+c.Command.HelpName+" "+c.Args().First()+" 198.51.100.7", "%q is not an address", c.Args().Get(1))
	}
	return c.Args().First(), addr, nil
}

func grant(c *cli.Context) error {
	h, err := open(c)
	if err != nil {
		return err
	}
	name, addr, err := nameAndAddress(c)
	if err != nil {
		return err
	}
	var d time.Duration
	if c.IsSet("for") {
		if d, err = protocol.ParseDuration(c.String("for")); err != nil {
			return command.Usagef("for example --for 30m", "--for: %w", err)
		}
		if d < time.Second || d%time.Second != 0 || d > protocol.MaxLease {
			return command.Usagef("for example --for 30m", "--for %s: a lease lasts whole seconds, at least 1s and at most %s", c.String("for"), protocol.FormatDuration(protocol.MaxLease))
		}
	}
	s, err := h.live(c.Context)
	if err != nil {
		return err
	}
	pushedOut := s.PushedOut(c.Context, addr)
	covered, err := s.Grant(c.Context, name, addr, d)
	if err != nil {
		return explainError(err)
	}
	service.Nudge(c.Context)
	length := "for the profile's lease"
	if d > 0 {
		length = "for " + say.Duration(d)
	}
	h.words.Note("%s is open for %s %s", name, cover(covered), length)
	if lost, some, err := pushedOut(); err != nil {
		h.words.Warning("%v", err)
	} else if some {
		h.words.Warning("%s", lost)
	}
	return nil
}

func cover(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

func revokeCommand() *cli.Command {
	return &cli.Command{
		Name:        "revoke",
		Usage:       "end the lease of an address",
		ArgsUsage:   "NAME ADDR",
		Description: "Established connections go on, unless --cut ends them too.\n\nExample:\n  knockd revoke mysql 198.51.100.7 --cut",
		Flags:       []cli.Flag{&cli.BoolFlag{Name: "cut", Usage: "end the connections that the lease opened"}},
		Action:      revoke,
	}
}

func revoke(c *cli.Context) error {
	h, err := open(c)
	if err != nil {
		return err
	}
	name, addr, err := nameAndAddress(c)
	if err != nil {
		return err
	}
	s, err := h.live(c.Context)
	if err != nil {
		return err
	}
	held, ended, err := s.Revoke(c.Context, name, addr, c.Bool("cut"))
	if err != nil {
		return explainError(err)
	}
	service.Nudge(c.Context)
	if held {
		h.words.Note("the lease of %s for %s is over", addr, name)
	} else {
		h.words.Note("%s held no lease of %s", addr, name)
	}
	if c.Bool("cut") {
		h.words.Note("connections ended: %d", ended)
	}
	return nil
}
