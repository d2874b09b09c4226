// Command knockd-fleet runs a node of a fleet for `knockd run`, which starts it: see package node.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"golang.org/x/term"

	"knockkit/server/fleet/node"
)

// memoryLimit is what it aims to live in: less than the unit of the service allows.
const memoryLimit = 300 << 20

func main() {
	if len(os.Args) > 1 || term.IsTerminal(int(os.Stdin.Fd())) {
		fmt.Fprintln(os.Stderr, "knockd-fleet: error: knockd run starts this program, where knockd.toml has [fleet]")
		os.Exit(2)
	}
	debug.SetMemoryLimit(memoryLimit)
	signal.Ignore(syscall.SIGINT, syscall.SIGHUP) // they are for the service, which closes our input
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	if err := node.Serve(ctx, os.Stdin, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintf(os.Stderr, "knockd-fleet: error: %v\n", err)
		os.Exit(1)
	}
}
