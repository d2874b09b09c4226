package conns

import (
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"

	"knockkit/protocol"
)

// toAdopt returns the socket's connection if it is at a port of the profiles.
func toAdopt(s socket, listens map[uint16]bool, profiles []*protocol.Profile) (connection, bool) {
	stage, ok := stageOf(s)
	if !ok || s.to.Addr().IsLoopback() {
		return connection{}, false
	}
	c := connection{client: s.to, server: s.from, stage: stage}
	if !listens[s.from.Port()] {
		// This host made it. What comes back is no connection that a gate with `cut` ends.
		c.client, c.server = c.server, c.client
	}
	for _, p := range profiles {
		if p.Opens(protocol.Knock{Proto: protocol.TCP, Port: s.from.Port()}) {
			return c, true
		}
	}
	return c, false
}

// retried is longer than a host waits before it sends again what was not acknowledged:
// 2 minutes at most (TCP_RTO_MAX).
const retried = 300

// stageOf says how far the socket's connection is: what conntrack would know had it
// seen all. The times are until the next packet; from there on conntrack's own hold.
//
// A side that has more to say may be silent for long, so a half-closed connection is
// remembered like one that is not. Where something is to be acknowledged, a packet comes soon.
// A handshake is adopted as well: to the client the connection exists when the host has
// answered, and no packet but those of the same two ends passes by that.
func stageOf(s socket) (stage, bool) {
	at := established
	switch s.State {
	case netlink.TCP_ESTABLISHED:
	case netlink.TCP_SYN_RECV:
		at = stage{nl.TCP_CONNTRACK_SYN_RECV, statusSeenReply | statusConfirmed, 60}
	case netlink.TCP_CLOSE_WAIT:
		at.state = nl.TCP_CONNTRACK_CLOSE_WAIT
	case netlink.TCP_FIN_WAIT2:
		at.state = nl.TCP_CONNTRACK_CLOSE_WAIT // of either end: the other has acknowledged the FIN
		if s.INode == 0 {                      // its process has gone, and the kernel waits tcp_fin_timeout for the client's FIN
			at.timeout = retried
		}
	case netlink.TCP_FIN_WAIT1:
		at.state, at.timeout = nl.TCP_CONNTRACK_FIN_WAIT, retried
	case netlink.TCP_LAST_ACK, netlink.TCP_CLOSING:
		at.state, at.timeout = nl.TCP_CONNTRACK_LAST_ACK, retried
	default: // the host connects to somebody, or the connection is over
		return stage{}, false
	}
	return at, true
}
