// Command knockd turns profiles into a state machine in the kernel's packet
// filter, and shows what it does there.
package main

import (
	"context"
	"os"
	"syscall"

	"knockkit/internal/command"
)

func main() { os.Exit(run(os.Args)) }

// run is the program, for main and for the scripts that test it.
func run(args []string) int {
	ctx, stop := command.Interruptible(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return command.Run(ctx, newApp(), args)
}
