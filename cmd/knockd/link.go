package main

import (
	"strings"

	"github.com/mdp/qrterminal/v3"
	"github.com/urfave/cli/v2"

	"knockkit/internal/command"
	"knockkit/internal/say"
	"knockkit/protocol/format"
)

func linkCommand() *cli.Command {
	return &cli.Command{
		Name: "link", Usage: "print a profile as a link, which knock enroll takes", ArgsUsage: "NAME", Action: onOne(printLink),
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "host", Usage: "the name or address `HOST` by which clients reach this server, instead of the profile's; may be repeated"},
			&cli.BoolFlag{Name: "qr", Usage: "draw the link as a QR code too, on standard error"},
		},
		Description: `The link has the sequence in it and is as secret as the profile. It holds what a
client needs: when that changes, give out a new one.

Example:
  knockd profile link mysql --host db1.example.com
  knockd profile link mysql --host db1.example.com --qr
  ssh db1.example.com sudo knockd profile link mysql --host db1.example.com | knock enroll -`,
	}
}

// printLink writes the link alone to standard output, so that it can be piped. The drawing goes to
// standard error, also where that is no terminal: over ssh it is one on the other side.
func printLink(h *host, name string) error {
	e, err := h.folders.Load(name)
	if err != nil {
		return h.profileError(err, name)
	}
	if e.Profile.Signed != nil {
		return command.Usagef("knockd key add USER "+name+", which prints it", "profile %s is signed: a link is for one user, and has a key", name)
	}
	p := *e.Profile
	if named := h.c.StringSlice("host"); len(named) > 0 {
		p.Hosts = named
	}
	if len(p.Hosts) == 0 {
		return command.Usagef("say how clients reach this server: knockd profile link "+name+" --host HOST, or set `host` in "+e.File, "profile %s has no host", name)
	}
	link, err := format.Link(&p, nil)
	if err != nil {
		return usage(err)
	}
	if !p.Enabled {
		h.words.Warning("profile %s is disabled: its knocks open nothing until it is enabled and installed", name)
	}
	h.draw(link)
	if say.IsTerminal(h.c.App.Writer) {
		h.words.Note("whoever has this link can knock: on the client, \"knock enroll\" asks for it")
	}
	return say.Data(h.c.App.Writer, link+"\n")
}

// draw draws a link as a QR code where --qr says so.
func (h *host) draw(link string) {
	if h.c.Bool("qr") {
		var code strings.Builder
		qrterminal.GenerateHalfBlock(link, qrterminal.L, &code)
		h.words.Picture("QR code", code.String())
	}
}
