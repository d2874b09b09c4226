// Package doctor looks at a host and says what keeps gates from doing their work:
// what it found, why that matters, and what to do.
//
// It has these parts, and only the first touches the host:
//
//	look.go, look_*.go    what there is: rules, tables, sockets, settings ([facts])
//	chain.go, walk.go     rules of others as chains, and what becomes of a packet in them
//	packet.go             the packets that are followed, and what is known of them
//	condition.go          what a match asks of a packet, as an answer and in words
//	check_*.go            from facts to findings, one idea each
//
// Rules are read from iptables-save (both flavours) and `nft -j list table`. A match
// that is not understood counts as "perhaps": what depends on it is said to be possible,
// and of which packets. Nothing on the host is changed; what a backend needs is tried in an
// empty network namespace.
package doctor
