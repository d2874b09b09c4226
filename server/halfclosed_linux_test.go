package server_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
	"knockkit/protocol"
	"knockkit/server"
)

// halves are the two sides of a connection, each of which may be closed in one direction.
type halves struct{ client, server *net.TCPConn }

// halvesOf connects a client to the service, with a deadline for all that follows.
func halvesOf(t *testing.T, client *lab.Host, service net.Listener, at netip.Addr) halves {
	t.Helper()
	c, err := client.Dial(t.Context(), "tcp", netip.AddrPortFrom(at, 3306).String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := service.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); s.Close() })
	h := halves{c.(*net.TCPConn), s.(*net.TCPConn)}
	for _, side := range []*net.TCPConn{h.client, h.server} {
		// With a packet of the server's, as a keepalive is, conntrack picks a connection up.
		if err := errors.Join(side.SetKeepAlive(false), side.SetDeadline(time.Now().Add(15*time.Second))); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// much is more than the windows and buffers of a connection hold: the receiver has to
// acknowledge some of it before the rest is sent.
var much = bytes.Repeat([]byte("0123456789abcdef"), 1<<20)

// carries sends much in one direction and then closes it.
func carries(from, to *net.TCPConn) error {
	sent := make(chan error, 1)
	go func() {
		_, err := from.Write(much)
		sent <- errors.Join(err, from.CloseWrite())
	}()
	got, err := io.ReadAll(to)
	if err != nil || len(got) != len(much) {
		return fmt.Errorf("%d bytes of %d arrived, then %w", len(got), len(much), errors.Join(err, io.ErrUnexpectedEOF))
	}
	return <-sent
}

// ends reports the end of the other's direction.
func ends(c *net.TCPConn) error {
	if n, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		return fmt.Errorf("read %d bytes, %v, not the end", n, err)
	}
	return nil
}

// gone is nil when no side of the host's connections waits for the other any more.
func gone(h *lab.Host) error {
	return h.Do(func() error {
		for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
			sockets, err := netlink.SocketDiagTCP(family)
			if err != nil {
				return err
			}
			for _, s := range sockets {
				if s.State != netlink.TCP_TIME_WAIT && s.State != netlink.TCP_LISTEN && s.State != netlink.TCP_CLOSE {
					return fmt.Errorf("the socket %+v", s)
				}
			}
		}
		return nil
	})
}

// closings are the ways in which a half of a connection is closed.
var closings = []struct {
	name  string
	close func(halves) error // before the gate
	goOn  func(halves) error // behind it, to the end
}{
	{"the client has nothing more to say", func(h halves) error {
		return errors.Join(h.client.CloseWrite(), ends(h.server))
	}, func(h halves) error { return carries(h.server, h.client) }},
	{"the server has nothing more to say", func(h halves) error {
		return errors.Join(h.server.CloseWrite(), ends(h.client))
	}, func(h halves) error { return carries(h.client, h.server) }},
	{"the client has nothing more to say, nor has the server", func(h halves) error {
		return errors.Join(h.client.CloseWrite(), ends(h.server))
	}, func(h halves) error { return errors.Join(h.server.CloseWrite(), ends(h.client)) }},
	{"the server has nothing more to say, nor has the client", func(h halves) error {
		return errors.Join(h.server.CloseWrite(), ends(h.client))
	}, func(h halves) error { return errors.Join(h.client.CloseWrite(), ends(h.server)) }},
}

// eachFirstGate makes connections on a host where conntrack has never run, installs the
// first gate in front of their port, and lets them go on.
func eachFirstGate(t *testing.T, more string, f func(t *testing.T, name, network string, at func(*lab.Host) netip.Addr, install func(*lab.Host))) {
	eachBackend(t, func(t *testing.T, name string) {
		b, _, err := server.OpenBackend(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range []struct {
			name, network string
			at            func(*lab.Host) netip.Addr
		}{
			{"ipv4", "tcp4", func(h *lab.Host) netip.Addr { return h.Addr4 }},
			{"ipv4 of a socket for both", "tcp", func(h *lab.Host) netip.Addr { return h.Addr4 }},
			{"ipv6", "tcp6", func(h *lab.Host) netip.Addr { return h.Addr6 }},
		} {
			t.Run(family.name, func(t *testing.T) {
				f(t, name, family.network, family.at, func(h *lab.Host) {
					t.Helper()
					if err := h.Do(func() error {
						change, err := server.New(b, strict()).Install(t.Context(), []*protocol.Profile{article(t, more)}, server.InstallOptions{})
						for _, note := range change.Notes {
							if strings.Contains(note, "may hang") {
								t.Error(note)
							}
						}
						return err
					}); err != nil {
						t.Fatal(err)
					}
				})
			})
		}
	})
}

func TestConnectionsThatAreHalfClosedGoOnWhenAGateIsInstalled(t *testing.T) {
	for _, place := range []string{"input", "prerouting"} {
		t.Run(place, func(t *testing.T) {
			eachFirstGate(t, "place = \""+place+"\"", func(t *testing.T, _, network string, at func(*lab.Host) netip.Addr, install func(*lab.Host)) {
				srv, client := labtest.NewHost(t, "server"), labtest.NewHost(t, "client")
				labtest.Join(t, srv, client)
				service := plainListen(t, srv, network, ":3306")
				var all []halves
				for _, c := range closings {
					h := halvesOf(t, client, service, at(srv))
					if err := c.close(h); err != nil {
						t.Fatal(err)
					}
					all = append(all, h)
				}
				install(srv)
				for i, h := range all {
					if err := closings[i].goOn(h); err != nil {
						t.Errorf("%s: %v", closings[i].name, err)
					}
				}
				for _, side := range []*lab.Host{srv, client} {
					labtest.Eventually(t, soon, func() error { return gone(side) })
				}
			})
		})
	}
}

// TestAnEndOrABeginningGoesOnWhenAGateIsInstalled loses what is to be acknowledged, so
// that each connection is in its state when the gate comes.
func TestAnEndOrABeginningGoesOnWhenAGateIsInstalled(t *testing.T) {
	eachFirstGate(t, "", func(t *testing.T, _, network string, at func(*lab.Host) netip.Addr, install func(*lab.Host)) {
		srv, client := labtest.NewHost(t, "server"), labtest.NewHost(t, "client")
		link := labtest.Connect(t, srv, client, lab.Conditions{})
		service := plainListen(t, srv, network, ":3306")
		first, second, atOnce := halvesOf(t, client, service, at(srv)), halvesOf(t, client, service, at(srv)), halvesOf(t, client, service, at(srv))
		if err := errors.Join(second.client.CloseWrite(), ends(second.server)); err != nil {
			t.Fatal(err)
		}
		lost := sends(client, lab.FlagACK)
		link.Drop(lost)
		begun, err := client.Dial(t.Context(), "tcp", netip.AddrPortFrom(at(srv), 3306).String())
		if err != nil {
			t.Fatal(err)
		}
		defer begun.Close()
		link.Drop(func(h *lab.Host, packet []byte) bool { return h == srv || lost(h, packet) })
		if err := errors.Join(first.server.CloseWrite(), second.server.Close(), atOnce.server.CloseWrite(), atOnce.client.CloseWrite()); err != nil {
			t.Fatal(err)
		}
		for _, state := range []uint8{netlink.TCP_FIN_WAIT1, netlink.TCP_LAST_ACK, netlink.TCP_CLOSING, netlink.TCP_SYN_RECV} {
			labtest.Eventually(t, soon, func() error { return inState(srv, state) })
		}
		install(srv)
		link.Drop(nil)
		if err := service.(*net.TCPListener).SetDeadline(time.Now().Add(3 * soon)); err != nil {
			t.Fatal(err)
		}
		if served, err := service.Accept(); err != nil {
			t.Errorf("the handshake: %v", err)
		} else {
			(&talk{begun, served}).goesOn(t, "the handshake")
			if err := errors.Join(begun.Close(), served.Close()); err != nil {
				t.Error(err)
			}
		}
		for name, err := range map[string]error{
			"the server ended first":      errors.Join(ends(first.client), carries(first.client, first.server)),
			"the server ended second":     ends(second.client),
			"both ended at the same time": errors.Join(ends(atOnce.client), ends(atOnce.server)),
		} {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		labtest.Eventually(t, 3*soon, func() error { return gone(srv) })
	})
}

// TestConnectionsThatAreHalfClosedEndWhereTheNewGateCuts: no lease is older than the gate.
// The side that still sends is told.
func TestConnectionsThatAreHalfClosedEndWhereTheNewGateCuts(t *testing.T) {
	eachFirstGate(t, "cut = true", func(t *testing.T, _, network string, at func(*lab.Host) netip.Addr, install func(*lab.Host)) {
		srv, client := labtest.NewHost(t, "server"), labtest.NewHost(t, "client")
		labtest.Join(t, srv, client)
		service := plainListen(t, srv, network, ":3306")
		clientDone, serverDone := halvesOf(t, client, service, at(srv)), halvesOf(t, client, service, at(srv))
		if err := errors.Join(closings[0].close(clientDone), closings[1].close(serverDone)); err != nil {
			t.Fatal(err)
		}
		install(srv)
		for name, side := range map[string]*net.TCPConn{"the server, still sending": clientDone.server, "the client, still sending": serverDone.client} {
			if _, err := side.Write(much); !errors.Is(err, unix.ECONNRESET) && !errors.Is(err, unix.EPIPE) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// TestAConnectionThatTheHostMadeFromAGatedPortIsNotCut: the profile's range holds ports that
// the host itself connects from.
func TestAConnectionThatTheHostMadeFromAGatedPortIsNotCut(t *testing.T) {
	eachFirstGate(t, "cut = true", func(t *testing.T, _, network string, at func(*lab.Host) netip.Addr, install func(*lab.Host)) {
		srv, client := labtest.NewHost(t, "server"), labtest.NewHost(t, "client")
		labtest.Join(t, srv, client)
		service := plainListen(t, client, network, ":9000")
		s := &site{t: t}
		c := s.from(srv, netip.AddrPortFrom(map[bool]netip.Addr{true: netip.IPv4Unspecified(), false: netip.IPv6Unspecified()}[at(srv).Is4()], 3306),
			netip.AddrPortFrom(at(client), 9000), service)
		install(srv)
		if err := (&talk{c.server, c.client}).say("the other side speaks first"); err != nil {
			t.Error(err)
		}
	})
}
