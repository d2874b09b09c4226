//go:build linux

package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"time"

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

// Sockets stay in the namespace in which they were made, so any goroutine may use
// what these methods return. Addresses are numeric: names would be looked up by
// goroutines outside.

// Listen opens a listening socket on the host: network and address as for
// [net.Listen].
func (h *Host) Listen(network, address string) (l net.Listener, err error) {
	err = h.Do(func() error {
		l, err = net.Listen(network, address)
		return err
	})
	return l, err
}

// ListenPacket opens a datagram socket on the host: network and address as for
// [net.ListenPacket].
func (h *Host) ListenPacket(network, address string) (c net.PacketConn, err error) {
	err = h.Do(func() error {
		c, err = net.ListenPacket(network, address)
		return err
	})
	return c, err
}

// Dial connects from the host: network and address as for [net.Dial].
func (h *Host) Dial(ctx context.Context, network, address string) (c net.Conn, err error) {
	err = h.Do(func() error {
		c, err = new(net.Dialer).DialContext(ctx, network, address)
		return err
	})
	return c, err
}

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

// Output is what a finished command left behind. Code is its exit status, -1 when
// a signal ended it.
type Output struct {
	Stdout, Stderr string
	Code           int
}

// Start starts a command inside the host. The rest of cmd is used as always:
// Wait, Process, pipes. SysProcAttr.Pdeathsig is refused, because the thread that
// starts the command ends at once and the signal would follow.
func (h *Host) Start(cmd *exec.Cmd) error {
	if cmd.SysProcAttr != nil && cmd.SysProcAttr.Pdeathsig != 0 {
		return fmt.Errorf("start %s on %s: Pdeathsig cannot be used here", cmd.Path, h.Name)
	}
	return h.Do(cmd.Start)
}

// Run runs a command inside the host to its end, with stdin as its input. A
// command that fails is no error: see Output.Code. An error says that it could not
// be started, or that ctx ended it.
func (h *Host) Run(ctx context.Context, stdin, name string, args ...string) (Output, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = time.Second // a grandchild may hold the pipes open
	if err := h.Start(cmd); err != nil {
		return Output{Code: -1}, err
	}
	err := cmd.Wait()
	out := Output{Stdout: stdout.String(), Stderr: stderr.String(), Code: cmd.ProcessState.ExitCode()}
	var exit *exec.ExitError
	if ctx.Err() != nil {
		return out, fmt.Errorf("run %s on %s: %w", name, h.Name, context.Cause(ctx))
	}
	if err != nil && !errors.As(err, &exit) {
		return out, fmt.Errorf("run %s on %s: %w", name, h.Name, err)
	}
	return out, nil
}
