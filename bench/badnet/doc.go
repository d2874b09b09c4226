// Package badnet measures how the client opens a gate over bad networks: how
// often, in how many attempts, after how long.
//
// The gate is the real server's, on a lab host; the network is a lab link. The
// client must be a process in its host's network namespace, and is the program
// that measures, started again: such a program calls [Child] first.
package badnet
