//go:build linux

// Command bench measures what the rules cost and writes the performance page:
// docs/performance.md and the plots beside it.
//
//	go run ./bench           everything, as the page says it
//	go run ./bench -quick    the same with few rounds, to see that it works
//
// Each part is a file: packets, signed, opening, commands, flood, networks, positions. A part builds
// all that it compares first, and then takes one measurement of each in turn, round
// after round, so that drift of the machine hits all alike. What is shown is the
// median of the rounds.
//
// It needs root and touches only network namespaces that it makes.
package main
