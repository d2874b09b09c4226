//go:build !linux && !windows

package client

import (
	"os"
	"strings"
)

// pingCommands returns how to run this program with the privilege that it
// lacks.
func pingCommands() []string { return []string{"sudo " + strings.Join(os.Args, " ")} }
