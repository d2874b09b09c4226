// Package server brings profiles into the kernel and reads back what is there: install, remove,
// status, grant, revoke, a trial with a guard.
//
// [OpenBackend] chooses a backend, and [New] makes a [Server] of it, which takes the lock for each
// change:
//
//	ReadProfile → Server.Install → Server.Status, Grant, Revoke → Server.Remove
//
// It writes no rules itself: a [Backend] does. It keeps nothing outside the kernel: each call reads
// what is installed, and who holds a lease, from there.
package server
