package nftables

// isSYN and notSYN tell a TCP packet that opens a connection from all others.
const (
	isSYN  = "tcp flags & (fin | syn | rst | ack) == syn"
	notSYN = "tcp flags & (fin | syn | rst | ack) != syn"
)

// loopback matches what this host says to itself. A proxy of handshakes (synproxy) in front
// of us sends the strangers' SYNs by the same way, with their own addresses.
const loopback = `iif "lo" fib saddr type local`

// unanswered matches the packets of a connection for which conntrack has seen an answer and
// no ACK to it: a SYN is the same one again.
const unanswered = "ct state established ct status & assured == 0"

// established matches the packets of established connections, with one rule each for TCP
// and for the rest. A SYN is not among them: conntrack keeps the entry of a connection
// that the client never ended, and takes a new connection from the same port for part of
// it.
func established() []string {
	return []string{
		notSYN + " ct state established",
		"meta l4proto != tcp ct state established",
	}
}

// related lets ICMP errors about connections pass. Other related packets are the first
// of connections that a conntrack helper was told to expect, for whichever port.
func related(c *Chain) {
	for _, proto := range []string{"icmp", "ipv6-icmp"} { // each costs a packet less than a set of both
		c.add("an error about a connection: no event", "meta l4proto", proto, "ct state related return")
	}
}
