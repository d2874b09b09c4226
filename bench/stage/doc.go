// Package stage builds what the benchmark measures on: hosts with rules on them,
// the packets that come to them, and the daemons that others use instead.
//
// A [Site] is a host with a wire, for packets from strangers and for installing. A
// [Cable] is a host and a client on virtual Ethernet, for what a daemon with a
// packet capture has to see. Everything is in network namespaces of package lab.
package stage
