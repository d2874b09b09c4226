// Package conns is the host's connections, by conntrack's entries and the sockets of the network
// namespace of the caller's thread. It adopts connections to ports that are about to be gated, ends
// those of a profile's holders, and lists the sockets that listen.
//
// It knows profiles, and no rules.
package conns
