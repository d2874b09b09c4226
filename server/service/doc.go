// Package service is `knockd run`. It installs every enabled profile, again when a file changes, and
// again when another tool has changed the rules. It remembers leases, so that a flush shuts nobody
// out. Rules work without it: it sees only packets that rules report, and when it ends, knocking
// goes on.
//
// A [Service] is a list of tasks in one group:
//
//	keeper     installs, reloads, repairs: the only one that changes rules
//	feed       what the rules report (package events)
//	folder     says when files have changed, once they are quiet
//	rules      says when somebody has changed rules
//	keys       gives the kernel the tokens of signed profiles
//	metrics    the page for Prometheus
//
// All of them read the kernel through one reader: one reading at a time, which all get that ask
// meanwhile. What the keeper knows belongs to its task alone.
//
// Files and commands are the caller's: [Config] has the functions that load profiles and open a
// server.
package service
