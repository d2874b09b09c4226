package client

import (
	"net"
	"strconv"
)

// zoneNumber returns the number of the interface in fe80::1%eth0; 0 for none.
func zoneNumber(zone string) uint32 {
	if i, err := net.InterfaceByName(zone); err == nil {
		return uint32(i.Index)
	}
	n, _ := strconv.ParseUint(zone, 10, 32)
	return uint32(n)
}
