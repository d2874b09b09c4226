package server_test

import (
	"net"
	"net/netip"
	"testing"

	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
	"knockkit/protocol"
	"knockkit/server"
)

func TestASYNThatOffersECNIsAKnock(t *testing.T) {
	gated(t, alone(t, ""), func(s *site, one, _ netip.Addr) {
		s.send(one, ping)
		for _, port := range []uint16{7, 8000} {
			s.port++
			s.inject(lab.TCP(netip.AddrPortFrom(one, s.port), netip.AddrPortFrom(s.dest(one), port), lab.FlagSYN|lab.FlagECE|lab.FlagCWR, nil))
		}
		s.expect("open", one, 3306)
	})
}

// TestTheSamePacketTwiceIsOneKnock has whole packets doubled, as a network or a
// retransmission does, on a host that answers and on one that does not.
func TestTheSamePacketTwiceIsOneKnock(t *testing.T) {
	for _, policy := range []string{"ACCEPT", "DROP"} {
		t.Run("policy "+policy, func(t *testing.T) {
			eachBackend(t, func(t *testing.T, name string) {
				s := newSite(t, name, strict())
				if policy == "DROP" {
					s.dropByDefault()
				}
				s.install(parse(t, "web", "sequence = [\"icmp\", \"7/tcp\", \"7/udp\", \"8000/tcp\"]\nopen = [\"80/tcp\"]"))
				eachFamily(t, func(t *testing.T, one, _ netip.Addr) {
					s.t = t
					for _, k := range []protocol.Knock{ping, tcp(7), udp(7), tcp(8000)} {
						p := s.packet(one, k)
						s.inject(p, p, p)
					}
					if !s.holds("web", one) {
						t.Error("doubled packets started the client over")
					}
				})
			})
		})
	}
}

// TestAnEstablishedConnectionIsNoEvent has a real connection that goes on while its
// owner knocks.
func TestAnEstablishedConnectionIsNoEvent(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		s := newSite(t, name, strict())
		client := s.neighbour()
		s.install(article(t, ""))
		ssh := labtest.Listen(t, s.host, "tcp", "[::]:22")
		for _, src := range []netip.Addr{client.Addr4, client.Addr6} {
			c := s.connect(client, ssh, src)
			for _, k := range []protocol.Knock{ping, tcp(7), tcp(8000)} {
				s.send(src, k)
				if err := c.say("in between"); err != nil {
					t.Fatal(err)
				}
			}
			if !s.holds("mysql", src) {
				t.Errorf("the connection of %s disturbed its knocks", src)
			}
		}
	})
}

// TestAnAnsweredDatagramsFlowIsNoEvent sends more datagrams of one flow to the port
// of a knock: after an answer they are ESTABLISHED.
func TestAnAnsweredDatagramsFlowIsNoEvent(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		s := newSite(t, name, strict())
		s.install(parse(t, "web", "sequence = [\"5000/udp\", \"1001/tcp\", \"5000/udp\", \"1002/tcp\"]\nopen = [\"80/tcp\"]"))
		eachFamily(t, func(t *testing.T, one, two netip.Addr) {
			s.t = t
			service := s.receive(5000)
			for _, src := range []netip.Addr{one, two} {
				datagram := s.packet(src, udp(5000))
				s.inject(datagram)
				if _, err := service.conn.WriteTo([]byte("answer"), net.UDPAddrFromAddrPort(service.next(t))); err != nil {
					t.Fatal(err)
				}
				s.send(src, tcp(1001))
				s.inject(datagram) // no knock: it belongs to the first
			}
			s.send(one, tcp(1002))
			s.send(two, udp(5000), tcp(1002))
			if s.holds("web", one) || !s.holds("web", two) {
				t.Error("an answered flow counted as a knock, or disturbed one")
			}
		})
	})
}

func TestLoopbackPassesTheGateAndNeverKnocks(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		s := newSite(t, name, strict())
		s.listen(3306)
		s.listen(7)
		s.install(article(t, `closed = "reject"`), parse(t, "web", "sequence = [\"7/tcp\", \"1002/tcp\"]\nopen = [\"80/tcp\"]"))
		for _, to := range []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback(), s.host.Addr4, s.host.Addr6} {
			for _, port := range []uint16{3306, 7} {
				c, err := s.host.Dial(t.Context(), "tcp", netip.AddrPortFrom(to, port).String())
				if err != nil {
					t.Fatal(err)
				}
				c.Close()
			}
		}
		if got := s.sources(); len(got) > 0 {
			t.Errorf("the host knocked on itself: %v", got)
		}
	})
}

func TestWithoutStrictOnlyKnocksOfSomeSequenceCount(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		settings := server.DefaultSettings()
		settings.Policy.Strict = false
		s := newSite(t, name, settings)
		s.listen(3306)
		s.install(article(t, ""), parse(t, "web", "sequence = [\"53/udp\", \"1002/tcp\"]\nopen = [\"80/tcp\"]"))
		eachFamily(t, func(t *testing.T, one, two netip.Addr) {
			s.t = t
			busy := []protocol.Knock{tcp(22), udp(123), tcp(9), tcp(3306), tcp(80)}
			s.send(one, ping)
			s.send(one, busy...)
			s.send(one, tcp(7))
			s.send(one, busy...)
			s.send(one, tcp(8000))
			s.expect("open", one, 3306)
			s.send(two, ping, udp(53), tcp(7), tcp(8000)) // 53/udp is a knock, though of another profile
			s.expect("silent", two, 3306)
			s.send(two, ping, tcp(8000), tcp(7))
			s.expect("silent", two, 3306)
		})
	})
}
