// Package lab makes throw-away hosts and the wires between them, for tests
// against the real kernel and for `knockd demo`.
//
// A [Host] is an anonymous network namespace: it has interfaces, addresses,
// rules and connection tracking of its own, and is gone when it is closed.
// Nothing in this package changes the network namespace of the process itself.
//
// There are three ways to connect hosts:
//
//   - [Join] and [Network]: virtual Ethernet, as good as a cable. Works in a user
//     namespace without any device node.
//   - [Connect]: a [Link] of two TUN devices between which this process carries
//     every packet, so that it can lose, delay, double, reorder, forge and watch
//     packets. Needs /dev/net/tun.
//   - [Plug]: a [Wire], a TUN device whose other end is the caller itself: one
//     packet in, the answers out, in order and without another thread.
//
// Addresses come from 198.51.100.0/24 and 2001:db8::/48; forged sources belong in
// [Forged4] and [Forged6], to which hosts on a Link or Wire have a route.
//
// A process needs root for all this, if only in a user namespace of its own:
// [Enter] sees to it. Package labtest has the same for tests, with clean-up.
//
// Everything but the packet builders is for Linux only.
package lab
