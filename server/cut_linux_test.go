package server_test

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
)

// talk is a real connection from a client host through the gate.
type talk struct {
	client, server net.Conn
}

// neighbour joins a client host to the site's and returns it.
func (s *site) neighbour() *lab.Host {
	s.t.Helper()
	h := labtest.NewHost(s.t, "client")
	labtest.Join(s.t, h, s.host)
	return h
}

// connect opens a connection from the client host over one family.
func (s *site) connect(from *lab.Host, service net.Listener, src netip.Addr) *talk {
	s.t.Helper()
	cable := s.host.Interfaces[len(s.host.Interfaces)-1] // the wire is the first
	addr := cable.Addr6.Addr()
	if src.Is4() {
		addr = cable.Addr4.Addr()
	}
	return s.connectTo(from, service, netip.AddrPortFrom(addr, service.Addr().(*net.TCPAddr).AddrPort().Port()))
}

// connectTo opens one to an address that leads to the service.
func (s *site) connectTo(from *lab.Host, service net.Listener, to netip.AddrPort) *talk {
	s.t.Helper()
	client, err := from.Dial(s.t.Context(), "tcp", to.String())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { client.Close() })
	if err := service.(*net.TCPListener).SetDeadline(time.Now().Add(soon)); err != nil {
		s.t.Fatal(err)
	}
	server, err := service.Accept()
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { server.Close() })
	return &talk{client, server}
}

// say sends a line from the client to the server and back.
func (c *talk) say(line string) error {
	end := time.Now().Add(soon)
	for _, way := range [][2]net.Conn{{c.client, c.server}, {c.server, c.client}} {
		if err := errors.Join(way[0].SetDeadline(end), way[1].SetDeadline(end)); err != nil {
			return err
		}
		if _, err := fmt.Fprintln(way[0], line); err != nil {
			return err
		}
		if got, err := bufio.NewReader(way[1]).ReadString('\n'); err != nil || got != line+"\n" {
			return fmt.Errorf("%q arrived, %w", got, err)
		}
	}
	return nil
}

// ended is nil when one side has noticed that the connection is no more: it sends
// until its kernel tells it so.
func ended(c net.Conn) error {
	if err := c.SetWriteDeadline(time.Now().Add(soon)); err != nil {
		return err
	}
	_, err := c.Write([]byte("x"))
	if errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		return nil
	}
	return fmt.Errorf("the connection still takes data, error %v", err)
}

func TestAConnectionEndsWithTheLeaseWhereTheProfileSaysCutAndElseGoesOn(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		s := newSite(t, name, strict())
		client := s.neighbour()
		s.install(
			parse(t, "cutting", "sequence = [\"1001/tcp\", \"1002/tcp\"]\nopen = [\"3306/tcp\"]\nlease = \"2s\"\ncut = true"),
			parse(t, "lasting", "sequence = [\"1003/tcp\", \"1004/tcp\"]\nopen = [\"22/tcp\"]\nlease = \"2s\""))
		cutting, lasting := labtest.Listen(t, s.host, "tcp", "[::]:3306"), labtest.Listen(t, s.host, "tcp", "[::]:22")
		var cut, last []*talk
		sources := []netip.Addr{client.Addr4, client.Addr6}
		for _, src := range sources {
			s.send(src, tcp(1001), tcp(1002), tcp(1003), tcp(1004))
			cut = append(cut, s.connect(client, cutting, src))
			last = append(last, s.connect(client, lasting, src))
		}
		for _, c := range append(cut, last...) {
			if err := c.say("while the lease lasts"); err != nil {
				t.Error(err)
			}
		}
		labtest.Eventually(t, 2*soon, func() error {
			if n := len(s.sources()); n > 0 {
				return fmt.Errorf("%d leases are left", n)
			}
			return nil
		})
		for _, c := range cut {
			labtest.Eventually(t, soon, func() error { return ended(c.client) })
			labtest.Eventually(t, soon, func() error { return ended(c.server) })
		}
		for i, c := range last {
			if err := c.say("after the lease"); err != nil {
				t.Errorf("without cut: %v", err)
			}
			s.expect("silent", sources[i], 22)
		}
	})
}

func TestAConnectionThatIsCutAsksForALeaseAgain(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		s := newSite(t, name, strict())
		client := s.neighbour()
		s.install(article(t, "cut = true\nclose = \"999/tcp\""))
		service := labtest.Listen(t, s.host, "tcp", "[::]:3306")
		for _, src := range []netip.Addr{client.Addr4, client.Addr6} {
			s.send(src, ping, tcp(7), tcp(8000))
			c := s.connect(client, service, src)
			if err := c.say("before"); err != nil {
				t.Fatal(err)
			}
			s.send(src, tcp(999)) // gives the lease back
			labtest.Eventually(t, soon, func() error { return ended(c.client) })
			s.send(src, ping, tcp(7), tcp(8000))
			if err := s.connect(client, service, src).say("again"); err != nil {
				t.Error(err)
			}
		}
	})
}
