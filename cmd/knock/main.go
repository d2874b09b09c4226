// Command knock sends a profile's knock sequence to a host, checks that the
// port opened, and can run a command then.
//
// It holds flags, words and exit codes. What knocks is package client, where a
// profile comes from is internal/config.
package main

import (
	"context"
	"os"

	"knockkit/internal/command"
)

func main() { os.Exit(run()) }

func run() int { return command.Run(context.Background(), newApp(), os.Args) }
