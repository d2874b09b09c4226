package iptables

import "knockkit/protocol"

// isSYN and notSYN tell a TCP packet that opens a connection from all others.
const (
	isSYN  = "-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN"
	notSYN = "-p tcp -m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN"
)

// loopback matches what this host says to itself. A proxy of handshakes (SYNPROXY) in front
// of us sends the strangers' SYNs by the same way, with their own addresses.
const loopback = "-i lo -m addrtype --src-type LOCAL"

// established matches the packets of established connections, with one rule each for TCP
// and for the rest. A SYN is not among them: conntrack keeps the entry of a connection
// that the client never ended, and takes a new connection from the same port for part of
// it. TCP counts once it is assured: see [render.handshake].
func (r *render) established() []string {
	return []string{
		notSYN + " -m conntrack --ctstate ESTABLISHED --ctstatus ASSURED",
		"! -p tcp -m conntrack --ctstate ESTABLISHED",
	}
}

// related lets ICMP errors about connections pass. Other related packets are the first
// of connections that a conntrack helper was told to expect, for whichever port.
func (r *render) related(c *Chain) {
	c.add(r.proto(protocol.ICMP), "-m conntrack --ctstate RELATED", note("an error about a connection: no event"), "-j RETURN")
}

// handshake fills a chain for TCP connections that are not assured yet, where conntrack
// has seen no ACK of the client: a SYN is the same one again. Anything else completes a
// handshake behind conntrack's back, such as a FIN with an ACK, and is treated like a
// packet of no connection: the entry would not become assured, and every later SYN in it
// would pass.
func (r *render) handshake(entry *Chain, name, stray string) {
	entry.add("-p tcp", "-m conntrack --ctstate ESTABLISHED ! --ctstatus ASSURED", note("answered, not assured yet"), goTo+name)
	c := r.out.newChain(name)
	c.add("-m conntrack --ctdir REPLY", note("this host connects"), "-j RETURN")
	c.add(isSYN, note("the same SYN again: no event"), "-j RETURN")
	c.add("-p tcp -m tcp --tcp-flags RST RST", note("the client gives up: no event"), "-j RETURN")
	c.add(goTo + stray)
}
