// Package events turns what the kernel's rules report into notices that a person can read: who
// knocked, who got in, who fell and why.
//
//	kernel --NFLOG--> Group --report--> tracker --Notice--> hub --socket--> watchers
//	commands --socket--> told, who did what --^
//
// The rules of the backends report to one NFLOG group. A group has one listener in a network
// namespace: the service, or the first `knockd watch`. The listener serves the notices to all others
// on an abstract Unix socket, which belongs to the network namespace too. [Feed] is the listener
// or reads from it, whichever is possible, and takes over when the listener goes away. On the same
// socket, commands [Tell] it what an operator has done by hand.
//
// [tracker] and the packet parser are pure. Nothing here changes a rule, and no packet waits for this
// package: notices that nobody reads in time are lost, and their number is reported.
package events
