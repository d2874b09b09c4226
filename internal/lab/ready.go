//go:build linux

package lab

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The kernel finishes some changes later, in a worker. Until then packets are lost,
// and a lost SYN costs its sender a second: so the lab waits.

const (
	readyWithin = 10 * time.Second
	readyEvery  = time.Millisecond
)

// waitForAddr waits until the host takes packets to one of its own addresses.
func (h *Host) waitForAddr(a netip.Addr) error {
	return h.wait(a.String(), func() bool {
		routes, err := h.route.RouteGet(a.AsSlice())
		return err == nil && len(routes) > 0 && routes[0].Type == unix.RTN_LOCAL
	})
}

// waitForCable waits until a virtual Ethernet device can send: its other end is up,
// and its queue is in place.
func (h *Host) waitForCable(name string) error {
	return h.wait(name, func() bool {
		link, err := h.route.LinkByName(name)
		return err == nil && link.Attrs().OperState == netlink.OperUp
	})
}

func (h *Host) wait(what string, ready func() bool) error {
	for deadline := time.Now().Add(readyWithin); !ready(); time.Sleep(readyEvery) {
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: %s is not ready after %v", h.Name, what, readyWithin)
		}
	}
	return nil
}
