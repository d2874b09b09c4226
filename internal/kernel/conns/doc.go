// Package conns is the host's connections as its kernel knows them: conntrack's entries and
// the sockets, of the network namespace of the caller's thread. It adopts connections to ports
// that are about to be gated, ends those of a profile's holders, and lists what listens.
//
// It knows profiles, and no rules: what a gate does with a connection is the backends' matter.
package conns
