package server_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"knockkit/internal/kernel/conns"
	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
	"knockkit/protocol"
)

// goesOn fails the test if the connection does not carry data any more.
func (c *talk) goesOn(t *testing.T, name string) {
	t.Helper()
	if err := c.say("still there?"); err != nil {
		t.Errorf("%s: %v", name, err)
	}
}

// isOver waits until both sides know that the connection has ended.
func (c *talk) isOver(t *testing.T) {
	t.Helper()
	labtest.Eventually(t, soon, func() error { return ended(c.server) })
	labtest.Eventually(t, soon, func() error { return ended(c.client) })
}

// all is every address of a family.
func all(f protocol.Family) netip.Prefix {
	if f == protocol.IPv4 {
		return netip.MustParsePrefix("0.0.0.0/0")
	}
	return netip.MustParsePrefix("::/0")
}

// endAll ends the connections of all holders of a family.
func (s *site) endAll(p *protocol.Profile, f protocol.Family) (n int) {
	s.t.Helper()
	s.do(func() (err error) {
		n, err = conns.End(p, all(f))
		return err
	})
	return n
}

// from connects from a local address that may share its port with a socket that listens.
func (s *site) from(h *lab.Host, local, to netip.AddrPort, service net.Listener) *talk {
	s.t.Helper()
	dialer := &net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(local), Control: reusePort}
	var client net.Conn
	if err := h.Do(func() (err error) {
		client, err = dialer.DialContext(s.t.Context(), "tcp", to.String())
		return err
	}); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { client.Close() })
	served, err := service.Accept()
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { served.Close() })
	return &talk{client, served}
}

func reusePort(_, _ string, c syscall.RawConn) (err error) {
	return errors.Join(c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	}), err)
}

// TestEndingAllConnectionsOfAProfileEndsNoOthers has every kind of connection beside those
// that holders made through the gate.
func TestEndingAllConnectionsOfAProfileEndsNoOthers(t *testing.T) {
	const ranged, listening = 40050, 40060 // ports of the profile's range, from which the host connects
	eachBackend(t, func(t *testing.T, name string) {
		s := newSite(t, name, strict())
		client, behind := s.neighbour(), labtest.NewHost(t, "behind")
		labtest.Join(t, s.host, behind)
		toClient, toBehind := s.host.Interfaces[1], s.host.Interfaces[2]
		for _, sysctl := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding"} {
			if err := s.host.Sysctl(sysctl, "1"); err != nil {
				t.Fatal(err)
			}
		}
		for _, route := range []struct {
			on      *lab.Host
			to, via netip.Prefix
		}{{client, toBehind.Addr4, toClient.Addr4}, {client, toBehind.Addr6, toClient.Addr6},
			{behind, toClient.Addr4, toBehind.Addr4}, {behind, toClient.Addr6, toBehind.Addr6}} {
			if err := route.on.AddRoute(route.to.Masked(), route.on.Interfaces[0].Name, route.via.Addr()); err != nil {
				t.Fatal(err)
			}
		}
		p := article(t, "")
		p.Open = parse(t, "x", "sequence = [\"1001/tcp\"]\nopen = [\"3306/tcp\", \"3306/udp\", \"40000-40100/tcp\"]").Open
		s.install(p)
		gated, free := labtest.Listen(t, s.host, "tcp", "[::]:3306"), labtest.Listen(t, s.host, "tcp", "[::]:80")
		datagrams := s.receive(3306)
		listener := net.ListenConfig{Control: reusePort}
		s.do(func() error {
			l, err := listener.Listen(t.Context(), "tcp", fmt.Sprintf("[::]:%d", listening))
			if err == nil {
				t.Cleanup(func() { l.Close() })
			}
			return err
		})
		elsewhere, beyond := labtest.Listen(t, client, "tcp", "[::]:9000"), labtest.Listen(t, behind, "tcp", "[::]:3306")
		for _, family := range []struct {
			family                       protocol.Family
			client, here, there, loop, o netip.Addr
		}{
			{protocol.IPv4, client.Addr4, toClient.Addr4.Addr(), behind.Addr4, netip.MustParseAddr("127.0.0.1"), netip.IPv4Unspecified()},
			{protocol.IPv6, client.Addr6, toClient.Addr6.Addr(), behind.Addr6, netip.IPv6Loopback(), netip.IPv6Unspecified()},
		} {
			t.Run(family.family.String(), func(t *testing.T) {
				s.t = t
				s.grant(p.Name, family.client, 0)
				port := func(a netip.Addr, n uint16) netip.AddrPort { return netip.AddrPortFrom(a, n) }
				theirs := s.connectTo(client, gated, port(family.here, 3306))
				stay := map[string]*talk{
					"over loopback":                       s.connectTo(s.host, gated, port(family.loop, 3306)),
					"of the host with its own address":    s.connectTo(s.host, gated, port(family.here, 3306)),
					"to a port that is not the profile's": s.connectTo(client, free, port(family.here, 80)),
					"through this host to another":        s.connectTo(client, beyond, port(family.there, 3306)),
					"by the host, from a gated port":      s.from(s.host, port(family.o, ranged), port(family.client, 9000), elsewhere),
					"by the host, from one that listens":  s.from(s.host, port(family.o, listening), port(family.client, 9000), elsewhere),
				}
				flow, err := client.Dial(t.Context(), "udp", port(family.here, 3306).String())
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { flow.Close() })
				if _, err := flow.Write([]byte("x")); err != nil {
					t.Fatal(err)
				}
				if from := datagrams.next(t); from.Addr() != family.client {
					t.Fatalf("a datagram came from %s", from)
				}
				if n := s.endAll(p, family.family); n != 2 {
					t.Errorf("%d connections ended, not the holder's one and its flow of UDP", n)
				}
				theirs.isOver(t)
				for name, c := range stay {
					c.goesOn(t, name)
				}
				if n := s.endAll(p, family.family); n != 0 {
					t.Errorf("%d connections ended once more", n)
				}
				// The service for datagrams has not lost its socket.
				if _, err := flow.Write([]byte("x")); err != nil {
					t.Fatal(err)
				}
				if from := datagrams.next(t); from.Addr() != family.client {
					t.Errorf("a datagram came from %s", from)
				}
			})
		}
	})
}

// TestARevokeThatCutsEndsTheConnectionsOfThePrefixAndNoOthers has three clients on one
// Ethernet: two share a lease, and the third has one of its own.
func TestARevokeThatCutsEndsTheConnectionsOfThePrefixAndNoOthers(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		s := newSite(t, name, strict())
		one, two, outside := labtest.NewHost(t, "one"), labtest.NewHost(t, "two"), labtest.NewHost(t, "outside")
		labtest.Network(t, s.host, one, two, outside) // .1, then .2 and .3: a /31
		s.install(article(t, "prefix = { ipv4 = 31, ipv6 = 127 }"), parse(t, "web", "sequence = [\"1001/tcp\", \"1002/tcp\"]\nopen = [\"80/tcp\"]"))
		mysql, web := labtest.Listen(t, s.host, "tcp", "[::]:3306"), labtest.Listen(t, s.host, "tcp", "[::]:80")
		for _, of := range []func(*lab.Host) netip.Addr{func(h *lab.Host) netip.Addr { return h.Addr4 }, func(h *lab.Host) netip.Addr { return h.Addr6 }} {
			t.Run(protocol.FamilyOf(of(one)).String(), func(t *testing.T) {
				s.t = t
				s.grant("mysql", of(one), 0)
				s.grant("mysql", of(outside), 0)
				s.grant("web", of(one), 0)
				ours := []*talk{s.connect(one, mysql, of(one)), s.connect(two, mysql, of(two)), s.connect(two, mysql, of(two))}
				s.connect(two, mysql, of(two)).finish(t)
				other, theirs := s.connect(one, web, of(one)), s.connect(outside, mysql, of(outside))
				if _, ended := s.revoke("mysql", of(one), true); ended != len(ours) {
					t.Errorf("%d connections ended, not %d", ended, len(ours))
				}
				for _, c := range ours {
					c.isOver(t)
				}
				other.goesOn(t, "the connection of another profile")
				theirs.goesOn(t, "the connection from outside of the prefix")
			})
		}
	})
}

// TestAConnectionThatConntrackPickedUpFromTheServersSideEndsToo: after a flush by
// somebody the server's next packet is the first that conntrack sees.
func TestAConnectionThatConntrackPickedUpFromTheServersSideEndsToo(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		s := newSite(t, name, strict())
		client := s.neighbour()
		s.install(article(t, ""))
		service := plainListen(t, s.host, "tcp", ":3306")
		for _, src := range []netip.Addr{client.Addr4, client.Addr6} {
			s.grant("mysql", src, 0)
			c := s.connect(client, service, src)
			s.do(func() error { return netlink.ConntrackTableFlush(netlink.ConntrackTable) })
			if err := (&talk{c.server, c.client}).say("the server speaks first"); err != nil {
				t.Fatal(err)
			}
			if _, ended := s.revoke("mysql", src, true); ended != 1 {
				t.Errorf("%s: %d connections ended, not 1", src, ended)
			}
			c.isOver(t)
		}
	})
}

// TestAConnectionThatIsRedirectedOnThisHostEndsAlone: the gated port leads to another, of
// which alone the socket knows; and a port that is not gated leads to one that is.
func TestAConnectionThatIsRedirectedOnThisHostEndsAlone(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		s := newSite(t, name, strict())
		client := s.neighbour()
		for _, tool := range []string{"iptables", "ip6tables"} {
			for _, ports := range [][2]string{{"3306", "13306"}, {"8080", "80"}} {
				s.run(tool, "-t", "nat", "-A", "PREROUTING", "-p", "tcp", "--dport", ports[0], "-j", "REDIRECT", "--to-ports", ports[1])
			}
		}
		s.install(article(t, "place = \"prerouting\""), parse(t, "web", "sequence = [\"1001/tcp\", \"1002/tcp\"]\nopen = [\"80/tcp\"]"))
		for _, way := range []struct {
			profile       string
			asked, listen uint16
		}{{"mysql", 3306, 13306}, {"web", 8080, 80}} {
			service := plainListen(t, s.host, "tcp", fmt.Sprintf(":%d", way.listen))
			for src, to := range map[netip.Addr]netip.Addr{client.Addr4: s.host.Interfaces[1].Addr4.Addr(), client.Addr6: s.host.Interfaces[1].Addr6.Addr()} {
				t.Run(fmt.Sprintf("%d to %d %s", way.asked, way.listen, protocol.FamilyOf(src)), func(t *testing.T) {
					s.t = t
					at := netip.AddrPortFrom(to, way.asked)
					s.grant(way.profile, src, 0)
					s.connectTo(client, service, at).finish(t)
					c := s.connectTo(client, service, at)
					if _, ended := s.revoke(way.profile, src, true); ended != 1 {
						t.Errorf("%d connections ended, not 1", ended)
					}
					c.isOver(t)
					s.grant(way.profile, src, 0)
					s.connectTo(client, service, at).goesOn(t, "a new connection")
				})
			}
		}
	})
}

// TestAHandshakeThatIsNotCompleteEndsUncounted: the client's last packet of it is lost.
func TestAHandshakeThatIsNotCompleteEndsUncounted(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		s := newSite(t, name, strict())
		client := labtest.NewHost(t, "client")
		link := labtest.Connect(t, client, s.host, lab.Conditions{})
		s.install(article(t, ""))
		service := plainListen(t, s.host, "tcp", ":3306")
		for _, src := range []netip.Addr{client.Addr4, client.Addr6} {
			t.Run(protocol.FamilyOf(src).String(), func(t *testing.T) {
				s.t = t
				s.grant("mysql", src, 0)
				link.Drop(sends(client, lab.FlagACK))
				half, err := client.Dial(t.Context(), "tcp", netip.AddrPortFrom(s.linked(src), 3306).String())
				if err != nil {
					t.Fatal(err)
				}
				defer half.Close()
				labtest.Eventually(t, soon, func() error { return inState(s.host, netlink.TCP_SYN_RECV) })
				if _, ended := s.revoke("mysql", src, true); ended != 0 {
					t.Errorf("%d connections ended, before there was one", ended)
				}
				if err := inState(s.host, netlink.TCP_SYN_RECV); err == nil {
					t.Error("the handshake can still be completed")
				}
				link.Drop(nil)
				if _, err := half.Write([]byte("x")); err != nil {
					t.Fatal(err)
				}
				s.grant("mysql", src, 0)
				c := s.connect(client, service, src) // the first that is accepted
				if c.client.LocalAddr().String() != c.server.RemoteAddr().String() {
					t.Errorf("%s was accepted before %s", c.server.RemoteAddr(), c.client.LocalAddr())
				}
				c.goesOn(t, "a new connection")
				s.revoke("mysql", src, true)
			})
		}
	})
}

// sends picks a host's TCP segments with exactly the flags, or with data beside them.
func sends(from *lab.Host, flags lab.Flags) func(*lab.Host, []byte) bool {
	return func(h *lab.Host, packet []byte) bool {
		p, err := lab.Parse(packet)
		return h == from && err == nil && p.Proto == protocol.TCP && p.Flags&^lab.FlagPSH == flags
	}
}

// linked is the host's address, of the source's family, on the interface that came last.
func (s *site) linked(src netip.Addr) netip.Addr {
	last := s.host.Interfaces[len(s.host.Interfaces)-1]
	if src.Is4() {
		return last.Addr4.Addr()
	}
	return last.Addr6.Addr()
}

// inState is nil when a host has a TCP socket in the state.
func inState(h *lab.Host, state uint8) error {
	return h.Do(func() error {
		var found strings.Builder
		for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
			sockets, err := netlink.SocketDiagTCP(family)
			if err != nil {
				return err
			}
			for _, x := range sockets {
				if x.State == state {
					return nil
				}
				fmt.Fprintf(&found, " %d", x.State)
			}
		}
		return fmt.Errorf("no socket in state %d, but in%s", state, found.String())
	})
}

func TestAContainersConnectionThatIsOverIsNotCounted(t *testing.T) {
	eachEngine(t, func(s *ship) {
		s.install(article(s.t, `place = "prerouting"`))
		client := s.neighbour()
		for _, src := range []netip.Addr{client.Addr4, client.Addr6} {
			s.grant("mysql", src, time.Hour)
			s.connect(client, s.container, src).finish(s.t)
			c := s.connect(client, s.container, src)
			if _, ended := s.revoke("mysql", src, true); ended != 1 {
				s.t.Errorf("%s: %d connections ended, not 1", src, ended)
			}
			if _, ended := s.revoke("mysql", src, true); ended != 0 {
				s.t.Errorf("%s: %d connections ended once more", src, ended)
			}
			if _, err := fmt.Fprintln(c.server, "without"); err != nil {
				s.t.Error(err)
			}
			labtest.Eventually(s.t, soon, func() error { return ended(c.server) })
			s.grant("mysql", src, time.Hour)
			s.connect(client, s.container, src).goesOn(s.t, "a new connection")
		}
	})
}
