// Package events turns what the kernel's rules report into events that a person
// can read: who knocked, who got in, who fell and why.
//
//	kernel --NFLOG--> Group --report--> story --Event--> hub --socket--> watchers
//
// The rules of the backends report transitions to one NFLOG group. A group has one
// listener in a network namespace, so whoever listens (the service, or the first
// `knockd watch`) serves the events to all others on an abstract Unix socket, which
// is per network namespace too. [Feed] does either, whichever is possible, and takes
// over when the one who served goes away.
//
// [tracker] and the packet parser are pure. Nothing here changes a rule, and no
// packet waits for this package: events that nobody reads in time are lost, counted,
// and their number is told.
package events
