// Package server brings profiles into the kernel and reads back what is there: install, remove,
// status, grant, revoke, a trial with a guard.
//
// It writes no rules itself: a [Backend] does. It keeps nothing outside the kernel: each call reads
// what is installed, and who holds a lease, from there. A profile for it comes from
// knockkit/protocol/format, or from another [Reading].
package server
