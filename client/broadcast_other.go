//go:build !linux

package client

import (
	"net/netip"
	"slices"
)

// isBroadcast reports whether an IPv4 address that a socket could be bound to is one for
// broadcasts: no interface has it.
func isBroadcast(a netip.Addr) bool {
	all, err := LocalAddrs()
	return err == nil && !slices.Contains(all, a)
}
