// Package protocol is what the server and the client agree on: profiles, the
// automaton they compile to, and a reference machine that runs it in Go.
//
// Data flows one way: TOML text → [Profile] → [Automaton] → rules of a kernel
// backend (package server). Everything here is pure: no packet is sent, no rule
// is touched, and the same input always gives the same output.
package protocol
