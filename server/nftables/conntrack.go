package nftables

// isSYN and notSYN tell a TCP packet that opens a connection from all others.
const (
	isSYN  = "tcp flags & (fin | syn | rst | ack) == syn"
	notSYN = "tcp flags & (fin | syn | rst | ack) != syn"
)

// loopback matches what this host says to itself. A proxy of handshakes (synproxy) in front
// of us sends the strangers' SYNs by the same way, with their own addresses.
const loopback = `iif "lo" fib saddr type local`

// established matches the packets of established connections, with one rule each for TCP
// and for the rest. A SYN is not among them: conntrack keeps the entry of a connection
// that the client never ended, and takes a new connection from the same port for part of
// it. TCP counts once it is assured: see [render.handshake].
func established() []string {
	return []string{
		notSYN + " ct state established ct status assured",
		"meta l4proto != tcp ct state established",
	}
}

// related lets ICMP errors about connections pass. Other related packets are the first
// of connections that a conntrack helper was told to expect, for whichever port.
func related(c *Chain) {
	c.add("an error about a connection: no event", "meta l4proto { icmp, ipv6-icmp } ct state related return")
}

// handshake fills a chain for TCP connections that are not assured yet, where conntrack
// has seen no ACK of the client: a SYN is the same one again. Anything else completes a
// handshake behind conntrack's back, such as a FIN with an ACK, and is treated like a
// packet of no connection: the entry would not become assured, and every later SYN in it
// would pass. An accept ends the base chain, no more.
func (r *render) handshake(entry *Chain, name string) {
	entry.add("answered, not assured yet", "meta l4proto tcp ct state established ct status & assured == 0 jump", name)
	c := r.chain(name)
	c.add("this host connects", "ct direction reply accept")
	c.add("the same SYN again: no event", isSYN, "accept")
	c.add("the client gives up: no event", "tcp flags & rst != 0 accept")
}
