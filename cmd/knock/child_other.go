//go:build !unix

package main

import "os"

// forwarded are the signals that are meant for the command: Ctrl-C reaches it
// by itself, and must not end us before it.
func forwarded() []os.Signal { return []os.Signal{os.Interrupt} }

func sentByTerminal(os.Signal) bool { return true }

func exitCode(state *os.ProcessState) int { return state.ExitCode() }
