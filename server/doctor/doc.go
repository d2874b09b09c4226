// Package doctor examines a host and says what keeps gates from working: what it found, why that
// matters, and what to do.
//
// It has these parts, of which only the first touches the host:
//
//	read.go, read_*.go    what there is: rules, tables, sockets, settings ([facts])
//	chain.go, walk.go     rules of others as chains, and the fate of a packet in them
//	packet.go             the packets that are followed
//	condition.go          the answer of a match to a packet, and its words
//	check_*.go            from facts to findings, one idea each
//
// Rules are read from iptables-save (both flavours) and `nft -j list table`. A match that we cannot
// read counts as "perhaps": a finding says then that something is possible, and for which packets.
// Nothing on the host is changed; a backend is tried in an empty network namespace.
package doctor
