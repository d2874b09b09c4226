package main

import (
	"github.com/urfave/cli/v2"

	"knockkit/internal/command"
	"knockkit/internal/say"
	"knockkit/protocol"
)

func graphCommand() *cli.Command {
	return &cli.Command{
		Name:        "graph",
		Usage:       "draw the state machine",
		ArgsUsage:   "[NAME...]",
		Description: "No name: every enabled profile. Edges back to the start are not drawn: every other event\nleads there, and so does the last knock of a sequence when it has opened. A signed profile is opened by a token\nin every state, and is drawn once.\n\nExample:\n  knockd graph mysql --format dot | dot -Tsvg > mysql.svg",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "format", Usage: "`F`: mermaid or dot", Value: "mermaid"},
			&cli.StringFlag{Name: "family", Usage: "`F`: ipv4 or ipv6", Value: "ipv4"},
		},
		Action: on(graph),
	}
}

func graph(h *host) error {
	c := h.c
	draw := map[string]func(*protocol.Automaton) string{"mermaid": protocol.Mermaid, "dot": protocol.Dot}[c.String("format")]
	if draw == nil {
		return command.Usagef("mermaid or dot", "there is no format %q", c.String("format"))
	}
	family, err := familyFlag(c)
	if err != nil {
		return err
	}
	if family == protocol.Both {
		family = protocol.IPv4
	}
	profiles, err := h.profiles(c.Args().Slice())
	if err != nil {
		return err
	}
	a, err := protocol.Compile(profiles, family)
	if err != nil {
		return usage(err)
	}
	return say.Data(c.App.Writer, draw(a))
}
