package main

import "github.com/urfave/cli/v2"

func fleetCommand() *cli.Command {
	return &cli.Command{
		Name:  "fleet",
		Usage: "let in on every server of a fleet who has knocked on one",
		Description: `The servers of a fleet, its nodes, have one secret, and [fleet] in knockd.toml.

Example:
  knockd fleet init --name web --listen 198.51.100.11:7115 --node 198.51.100.12:7115`,
		Subcommands: []*cli.Command{fleetInitCommand(), fleetStatusCommand()},
	}
}
