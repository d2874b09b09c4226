// Package service is `knockd run`: it looks after rules that work without it. It
// installs every enabled profile, again when a file changes, and again when another
// tool has changed the rules; it remembers leases, so that a flush shuts nobody out.
// It sees no packets but those that rules chose to report, and when it dies, knocking
// goes on.
//
// A [Service] is a list of tasks in one group:
//
//	keeper     installs, reloads, repairs: the only one that changes rules
//	feed       what the rules report (package events)
//	folder     says when files have changed, once they are quiet
//	rules      says when somebody has changed rules
//	metrics    the page for Prometheus
//
// What they know of the kernel comes from one reader: one read at a time, shared by who asks
// meanwhile. What the keeper knows is its task's alone.
//
// Files and commands are the caller's: [Config] says how to load and what to open.
package service
