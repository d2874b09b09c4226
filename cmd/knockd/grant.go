package main

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"knockkit/internal/command"
	"knockkit/internal/say"
	"knockkit/protocol"
	"knockkit/server"
	"knockkit/server/service"
)

func grantCommand() *cli.Command {
	return &cli.Command{
		Name:      "grant",
		Usage:     "give an address or a prefix a lease without a knock",
		ArgsUsage: "NAME ADDR|PREFIX",
		Description: `It lifts a ban of the address, since a banned source gets in nowhere.

Example:
  knockd grant mysql 198.51.100.7
  knockd grant mysql 198.51.100.0/24 --for 30m`,
		Flags:  []cli.Flag{command.TimeFlag("for", "for `TIME` instead of the profile's lease, as 30m or 2d"+bareNumber)},
		Action: on(grant),
	}
}

// parseWho reads an address or a prefix.
func parseWho(c *cli.Context, text string) (netip.Prefix, error) {
	example := "for example: " + c.Command.HelpName
	first := c.Args().First()
	if first != text {
		example += " " + first
	}
	p, err := protocol.ParsePrefix(text)
	_, noAddress := protocol.ParsePrefix(first)
	switch {
	case err != nil && noAddress == nil:
		return p, command.Usagef("the profile comes first: "+retyped([]string{first, text}, text, first), "%q is not an address", text)
	case err != nil && strings.Contains(text, "/"):
		return p, command.Usagef(example+" 198.51.100.0/24", "%q is not a prefix", text)
	case err != nil:
		return p, command.Usagef(example+" 198.51.100.7", "%q is not an address", text)
	case p != p.Masked():
		return p, command.Usagef("the prefix is "+p.Masked().String()+", and the address alone "+p.Addr().String(), "%s is an address in a prefix: which is meant?", text)
	}
	return p, nil
}

// nameAndWho returns the two arguments of grant and revoke; with --all the second is the
// zero Prefix.
func nameAndWho(c *cli.Context) (name string, who netip.Prefix, err error) {
	if c.NArg() == 0 {
		return "", who, command.NoArgument(c)
	}
	see := "see " + c.Command.HelpName + " --help"
	switch {
	case c.Bool("all") && c.NArg() == 2:
		return "", who, command.Usagef(see, "--all and an address exclude each other")
	case c.Bool("all") && c.NArg() == 1:
		return c.Args().First(), who, nil
	case c.NArg() != 2:
		return "", who, command.Usagef(see, "%s takes a profile and an address or prefix", c.Command.HelpName)
	}
	who, err = parseWho(c, c.Args().Get(1))
	return c.Args().First(), who, err
}

func grant(h *host) error {
	c := h.c
	name, who, err := nameAndWho(c)
	if err != nil {
		return err
	}
	d := command.TimeOf(c, "for")
	if c.IsSet("for") && (d < time.Second || d%time.Second != 0 || d > protocol.MaxLease) {
		return command.Usagef("for example --for 30m", "--for %s: a lease lasts whole seconds, at least 1s and at most %s", c.String("for"), protocol.FormatDuration(protocol.MaxLease))
	}
	s, err := h.live(c.Context)
	if err != nil {
		return err
	}
	granted, err := s.Grant(c.Context, name, who, d)
	if err != nil {
		return explainError(err)
	}
	service.Nudge(c.Context)
	length := "until it is revoked"
	if granted.Lasts > 0 {
		length = "for " + say.Duration(granted.Lasts)
	}
	if granted.Once {
		length += ", for one connection"
	}
	switch n := len(granted.Lifted); {
	case n == 1 && granted.Covers.IsSingleIP():
		length += "; its ban is lifted"
	case n > 0:
		length += fmt.Sprintf("; bans lifted: %d", n)
	}
	for _, a := range granted.Advice {
		h.words.Warning("%s", h.withFile(a.String()))
	}
	covers := protocol.PrefixText(granted.Covers)
	if len(granted.Drift) > 0 {
		h.words.Warning("the rules are not as they were installed, so whether %s is open is not known: %s", name, granted.Drift[0])
		h.words.Note("%s: a lease was given to %s %s", name, covers, length)
		return nil
	}
	h.words.Note("%s is open for %s %s", name, covers, length)
	if granted.Only != nil {
		h.words.Note("of that the profile's `from` lets in %s only", protocol.PrefixTexts(granted.Only))
	}
	return nil
}

func revokeCommand() *cli.Command {
	return &cli.Command{
		Name:      "revoke",
		Usage:     "end the lease of an address, those inside a prefix, or all",
		ArgsUsage: "NAME ADDR|PREFIX|--all|--user USER",
		Description: `Established connections go on, unless --cut ends them too. A lease that was given to a
wider prefix goes on; then the exit code is 1.

With --user, a lease goes on while another user has knocked for it too, and so do connections:
nobody knows whose they are. The user can knock again: see knockd key disable.

Example:
  knockd revoke mysql 198.51.100.7 --cut
  knockd revoke mysql 198.51.100.0/24
  knockd revoke mysql --all
  knockd revoke admin --user alice`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "all", Usage: "end all leases of the profile"},
			&cli.StringFlag{Name: "user", Usage: "end what `USER` has opened of a signed profile"},
			&cli.BoolFlag{Name: "cut", Usage: "end the connections that the leases opened"},
		},
		Action: on(revoke),
	}
}

func revoke(h *host) error {
	c := h.c
	if c.IsSet("user") {
		return revokeUser(h)
	}
	name, who, err := nameAndWho(c)
	if err != nil {
		return err
	}
	s, err := h.live(c.Context)
	if err != nil {
		return err
	}
	r, err := s.Revoke(c.Context, name, who, c.Bool("cut"))
	if err != nil && len(r.Ended) == 0 {
		return explainError(err)
	}
	service.Nudge(c.Context)
	done := revoked(name, who, r)
	if c.Bool("cut") && err == nil {
		done += fmt.Sprintf("; connections ended: %d", r.Connections)
	}
	h.words.Note("%s", done)
	if err != nil {
		return explainError(err)
	}
	if len(r.Wider) > 0 {
		still := fmt.Errorf("%s goes on to be open for %s: it is in %s, which has a lease", name, protocol.PrefixText(who), protocol.PrefixText(r.Wider[0]))
		return &command.Error{Code: command.Failed, Err: still, Hint: "to end that: knockd revoke " + name + " " + protocol.PrefixText(r.Wider[0])}
	}
	return nil
}

// revoked says which leases are over.
func revoked(name string, who netip.Prefix, r server.Revoked) string {
	switch {
	case !who.IsValid():
		return fmt.Sprintf("leases of %s that are over: %d", name, len(r.Ended))
	case len(r.Ended) == 1:
		return fmt.Sprintf("the lease of %s for %s is over", protocol.PrefixText(r.Ended[0]), name)
	case !who.IsSingleIP():
		return fmt.Sprintf("leases of %s inside %s that are over: %d", name, who, len(r.Ended))
	case len(r.Wider) > 0:
		return fmt.Sprintf("%s held no lease of %s of its own", protocol.PrefixText(who), name)
	}
	return fmt.Sprintf("%s held no lease of %s", protocol.PrefixText(who), name)
}
