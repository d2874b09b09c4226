package client

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"knockkit/protocol"
)

// These tests use the real kernel, on loopback.

func loopbacks() []netip.Addr {
	return []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()}
}

// needs skips a test for want of a permission, except in CI, where a test that
// never runs would go unnoticed.
func needs(t *testing.T, what string, err error) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is needed: %v", what, err)
	}
	t.Skipf("%s is needed: %v", what, err)
}

// accepting listens on a free port of the address and hands the connections over.
func accepting(t *testing.T, on netip.Addr) (uint16, <-chan net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", netip.AddrPortFrom(on, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	conns := make(chan net.Conn, 100)
	go func() {
		defer close(conns)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns <- c
		}
	}()
	return uint16(l.Addr().(*net.TCPAddr).Port), conns
}

// unused returns a port on which nothing listens.
func unused(t *testing.T, on netip.Addr) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", netip.AddrPortFrom(on, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return uint16(l.Addr().(*net.TCPAddr).Port)
}

// silent returns a port whose SYNs the kernel drops, as a closed gate does: it
// listens, and its queue of connections is full.
func silent(t *testing.T, on netip.Addr) uint16 {
	t.Helper()
	fd, err := tcpSocket(on)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, sockaddr(netip.AddrPortFrom(on, 0))); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	var port int
	switch a := name.(type) {
	case *unix.SockaddrInet4:
		port = a.Port
	case *unix.SockaddrInet6:
		port = a.Port
	}
	c, err := net.Dial("tcp", netip.AddrPortFrom(on, uint16(port)).String()) // a backlog of 0 has room for one
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return uint16(port)
}

func TestWhatComesBackForAKnock(t *testing.T) {
	for _, on := range loopbacks() {
		open, _ := accepting(t, on)
		udp, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(on, 0)))
		if err != nil {
			t.Fatal(err)
		}
		defer udp.Close()
		quiet := udp.LocalAddr().(*net.UDPAddr).AddrPort().Port()
		for _, c := range []struct {
			name  string
			knock protocol.Knock
			want  Reply
		}{
			{"an echo request", protocol.Knock{Proto: protocol.ICMP}, Answered},
			{"a closed tcp port", tcpKnock(unused(t, on)), RefusedReply},
			{"a listening tcp port", tcpKnock(open), Accepted},
			{"a dropping tcp port", tcpKnock(silent(t, on)), NoReply},
			{"a closed udp port", protocol.Knock{Proto: protocol.UDP, Port: unused(t, on)}, RefusedReply},
			{"a udp port that says nothing", protocol.Knock{Proto: protocol.UDP, Port: quiet}, NoReply},
		} {
			t.Run(c.name+" on "+on.String(), func(t *testing.T) {
				f, err := network{}.knock(on, c.knock, nil)
				if p := new(*PrivilegeError); errors.As(err, p) {
					needs(t, "a ping or raw socket", err)
				}
				if err != nil {
					t.Fatal(err)
				}
				if got := f.wait(t.Context(), time.Now().Add(100*ms)); got != c.want {
					t.Errorf("%s, want %s", got, c.want)
				}
			})
		}
	}
}

func TestACancelledFlightEndsAtOnce(t *testing.T) {
	on := loopbacks()[0]
	f, err := network{}.knock(on, tcpKnock(silent(t, on)), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	start := time.Now()
	if got := f.wait(ctx, start.Add(lifetime)); got != NoReply || time.Since(start) > lifetime/2 {
		t.Errorf("%s after %v, want no reply at once", got, time.Since(start))
	}
}

func TestAnAcceptedKnockLeavesNothingBehind(t *testing.T) {
	on := loopbacks()[0]
	port, conns := accepting(t, on)
	f, err := network{}.knock(on, tcpKnock(port), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := f.wait(t.Context(), time.Now().Add(lifetime)); got != Accepted {
		t.Fatalf("%s, want accepted", got)
	}
	server := <-conns
	defer server.Close()
	if err := server.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("the server read %v, want a reset: a close would leave TIME_WAIT here", err)
	}
}

func TestAKnockThatNobodyAnswersIsExactlyOneSYN(t *testing.T) {
	on := loopbacks()[0]
	port := silent(t, on)
	syns := sniff(t, port)
	start := time.Now()
	f, err := network{}.knock(on, tcpKnock(port), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := f.wait(t.Context(), start.Add(lifetime)); got != NoReply {
		t.Fatalf("%s, want no reply", got)
	}
	// The kernel would repeat the SYN after 1 s.
	if n := len(syns(start.Add(1300 * ms))); n != 1 {
		t.Errorf("%d SYNs left, want 1", n)
	}
}

func TestEveryKnockOfEveryAttemptIsANewFlow(t *testing.T) {
	on := loopbacks()[0]
	port := unused(t, on)
	syns := sniff(t, port)
	p := mysql()
	p.Sequence = []protocol.Step{{Knock: tcpKnock(port)}}
	p.Open[0] = protocol.PortRange{Proto: protocol.TCP, First: port, Last: port} // the check goes there too
	p.Client.Attempts = 10
	r, err := Knock(t.Context(), Target{Profile: p, Host: on.String()})
	if notOpen := new(NotOpenError); !errors.As(err, &notOpen) || r.Outcome() != Refused {
		t.Fatalf("%s, error %v, want refused and a NotOpenError", r.Outcome(), err)
	}
	sources := syns(time.Now().Add(100 * ms))
	if len(sources) != 20 { // refused at once: one knock and one check an attempt
		t.Errorf("%d SYNs left, want 20", len(sources))
	}
	answered := map[uint16]bool{}
	for _, s := range sources {
		if answered[s] {
			t.Errorf("source port %d was used twice", s)
		}
		answered[s] = true
	}
}

func TestKnockOpensAndLeavesNoSocketOrGoroutineBehind(t *testing.T) {
	on := loopbacks()[0]
	open, conns := accepting(t, on)
	go func() {
		for c := range conns {
			c.Close()
		}
	}()
	p := mysql()
	p.Sequence = []protocol.Step{{Knock: tcpKnock(unused(t, on))}, {Knock: tcpKnock(silent(t, on))},
		{Knock: protocol.Knock{Proto: protocol.UDP, Port: unused(t, on)}}}
	p.Open[0].First, p.Open[0].Last = open, open
	target := Target{Profile: p, Host: on.String()}
	if r, err := Knock(t.Context(), target); err != nil || r.Outcome() != Open || r.Addr() != on {
		t.Fatalf("%s at %v, error %v", r.Outcome(), r.Addr(), err)
	}
	sockets, goroutines := openSockets(t), runtime.NumGoroutine()
	for range 20 {
		if _, err := Knock(t.Context(), target); err != nil {
			t.Fatal(err)
		}
	}
	deadline := time.Now().Add(5 * time.Second) // the server's side closes in its own time
	for openSockets(t) > sockets || runtime.NumGoroutine() > goroutines {
		if time.Now().After(deadline) {
			t.Fatalf("%d sockets and %d goroutines, before %d and %d", openSockets(t), runtime.NumGoroutine(), sockets, goroutines)
		}
		runtime.Gosched()
	}
}

func openSockets(t *testing.T) (n int) {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if to, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && strings.HasPrefix(to, "socket:") {
			n++
		}
	}
	return n
}
