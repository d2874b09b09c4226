package iptables

import "knockkit/protocol"

// notSYN matches TCP packets that open no connection.
const notSYN = "-p tcp -m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN"

// loopback matches what this host says to itself. A proxy of handshakes (SYNPROXY) in front
// of us sends the strangers' SYNs by the same way, with their own addresses.
const loopback = "-i lo -m addrtype --src-type LOCAL"

// unanswered matches the packets of a connection for which conntrack has seen an answer and
// no ACK to it: a SYN is the same one again.
const unanswered = "-m conntrack --ctstate ESTABLISHED ! --ctstatus ASSURED"

// established matches the packets of established connections, with one rule each for TCP
// and for the rest. A SYN is not among them: conntrack keeps the entry of a connection
// that the client never ended, and takes a new connection from the same port for part of
// it.
func established() []string {
	return []string{
		notSYN + " -m conntrack --ctstate ESTABLISHED",
		"! -p tcp -m conntrack --ctstate ESTABLISHED",
	}
}

// related lets ICMP errors about connections pass. Other related packets are the first
// of connections that a conntrack helper was told to expect, for whichever port.
func (r *renderer) related(c *chain) {
	c.add(r.proto(protocol.ICMP), "-m conntrack --ctstate RELATED", note("an error about a connection: no event"), "-j RETURN")
}
