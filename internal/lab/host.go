//go:build linux

package lab

import (
	"fmt"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Host is a network namespace without a name. Its loopback interface is up; other
// interfaces come from [Join], [Network], [Connect] and [Plug].
//
// The methods may be used by several goroutines at once, but a host is linked and
// closed by one.
type Host struct {
	Name string // for messages only

	// Addr4 and Addr6 are the addresses on the first interface; the zero Addr
	// before the host is linked.
	Addr4, Addr6 netip.Addr

	// Interfaces are those that the lab made, in that order.
	Interfaces []Interface

	ns        *os.File
	route     *netlink.Handle
	usedUntil int // subnets below this number may be in use on this host
}

// Interface is one of a host's interfaces with its addresses.
type Interface struct {
	Name  string // eth0, tun1, …: the number counts both kinds
	Addr4 netip.Prefix
	Addr6 netip.Prefix
}

// New makes a host. The caller closes it. It needs the privileges that [Enter]
// obtains.
func New(name string) (*Host, error) {
	h := &Host{Name: name}
	err := onOwnThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unshare network namespace: %w", err)
		}
		var err error
		if h.ns, err = os.Open("/proc/thread-self/ns/net"); err != nil {
			return err
		}
		if err := applySysctls(); err != nil {
			return err
		}
		// The socket stays in the namespace in which it was opened.
		if h.route, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
			return fmt.Errorf("netlink: %w", err)
		}
		lo, err := h.route.LinkByName("lo")
		if err != nil {
			return fmt.Errorf("loopback: %w", err)
		}
		return h.route.LinkSetUp(lo)
	})
	if err != nil {
		h.Close()
		return nil, fmt.Errorf("make host %s: %w", name, err)
	}
	return h, nil
}

// Close lets go of the namespace. The kernel removes it, with all that is in it,
// when the last socket and process in it are gone too. Close may be called twice.
func (h *Host) Close() error {
	if h.route != nil {
		h.route.Close()
		h.route = nil
	}
	if h.ns == nil {
		return nil
	}
	err := h.ns.Close()
	h.ns = nil
	return err
}

// String returns the host's name.
func (h *Host) String() string { return h.Name }

// Do runs f on a thread that is inside the host, and returns f's error. Sockets
// that f opens and processes that it starts are the host's for good. Goroutines
// that f starts are not inside: Go runs them on other threads. f may call t.Fatal.
//
// Inside f, /proc/sys/net is the host's, and so is /proc/thread-self/net, but
// /proc/net and /proc/self/net are those of the process's first thread.
func (h *Host) Do(f func() error) error {
	if h.ns == nil {
		return fmt.Errorf("host %s is closed", h.Name)
	}
	return onOwnThread(func() error {
		if err := unix.Setns(int(h.ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter host %s: %w", h.Name, err)
		}
		return f()
	})
}
