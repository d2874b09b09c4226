// Package protocol is what the server and the client agree on: knocks, profiles, the automaton
// that profiles compile to, and a reference machine that runs it in Go.
//
// Data flows one way: a profile's file → [Profile] (package knockkit/protocol/format) → [Compile] →
// [Automaton] → rules of the kernel (package knockkit/server), or [NewMachine], which takes packets
// in Go. Everything here is pure: nothing is read or sent, and the same input always gives the same
// output.
package protocol
