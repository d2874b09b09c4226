package main

import (
	"strings"

	"github.com/urfave/cli/v2"

	"knockkit/internal/command"
)

// bareNumber ends the help of a flag that takes a length of time: see [command.ParseTime].
const bareNumber = "; a bare number is seconds"

// limitArguments lets each command refuse, before it does anything, the arguments that its usage does
// not name: what is typed and not heeded would be taken for done.
func limitArguments(commands []*cli.Command) {
	for _, of := range commands {
		limitArguments(of.Subcommands)
		do := of.Action
		if do == nil {
			continue
		}
		of.Action = func(c *cli.Context) error {
			if err := tooMany(c); err != nil {
				return err
			}
			return do(c)
		}
	}
}

// tooMany is the error of an argument more than the command's usage names.
func tooMany(c *cli.Context) error {
	takes := c.Command.ArgsUsage
	if c.Command.UsageText != "" {
		takes = strings.TrimPrefix(c.Command.UsageText, c.Command.HelpName)
	}
	n := len(strings.Fields(takes))
	if strings.Contains(takes, "...") || c.NArg() <= n {
		return nil
	}
	hint := "usage: " + strings.Join(append([]string{c.Command.HelpName}, strings.Fields(takes)...), " ")
	switch c.Command.HelpName {
	case "knockd run":
		hint = "it installs every enabled profile: set enabled = false in the others"
	case "knockd profile list":
		hint += "; for the text of one: knockd profile show NAME"
	}
	return command.Usagef(hint, "%s is one argument too many", c.Args().Get(n))
}
