package server_test

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
	"knockkit/protocol"
)

// receiver is a UDP service that answers nothing, so that no flow is established.
type receiver struct {
	conn net.PacketConn
	port uint16
}

// receive opens a UDP port on the host until the test ends.
func (s *site) receive(port uint16) *receiver {
	s.t.Helper()
	address := netip.AddrPortFrom(netip.IPv6Unspecified(), port)
	return &receiver{labtest.ListenPacket(s.t, s.host, "udp", address.String()), port}
}

// next returns where the next datagram came from, which has been sent already.
func (r *receiver) next(t testing.TB) netip.AddrPort {
	t.Helper()
	if err := r.conn.SetReadDeadline(time.Now().Add(soon)); err != nil {
		t.Fatal(err)
	}
	_, from, err := r.conn.ReadFrom(make([]byte, 100))
	if err != nil {
		t.Fatalf("no datagram: %v", err)
	}
	at := from.(*net.UDPAddr).AddrPort()
	return netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
}

// nothingFrom fails if a datagram of the source arrives. Datagrams are in the
// service's queue when they have been sent, so one over loopback comes after it.
func (r *receiver) nothingFrom(s *site, src netip.Addr) {
	s.t.Helper()
	s.send(src, udp(r.port))
	loopback := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), r.port)
	c, err := s.host.Dial(s.t.Context(), "udp", loopback.String())
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("x")); err != nil {
		s.t.Fatal(err)
	}
	if got := r.next(s.t); got.Addr() != loopback.Addr() {
		s.t.Errorf("a datagram came through from %s", got)
	}
}

// portOf returns a packet's source port.
func portOf(t testing.TB, packet []byte) uint16 {
	t.Helper()
	p, err := lab.Parse(packet)
	if err != nil {
		t.Fatal(err)
	}
	return p.SrcPort
}

func TestAnOpenedUDPPortIsReachedByTheHolderAndItsAnswersComeBack(t *testing.T) {
	dns := []*protocol.Profile{parse(t, "dns", "sequence = [\"1001/udp\", \"1002/udp\"]\nopen = [\"53/udp\"]")}
	gated(t, dns, func(s *site, one, other netip.Addr) {
		service := s.receive(53)
		service.nothingFrom(s, one)
		s.send(one, udp(1001), udp(1002))
		s.answers()
		question := s.packet(one, udp(53))
		s.inject(question)
		from := service.next(s.t)
		if want := netip.AddrPortFrom(one, portOf(s.t, question)); from != want {
			s.t.Fatalf("a datagram came from %s, not from %s", from, want)
		}
		if _, err := service.conn.WriteTo([]byte("the answer"), net.UDPAddrFromAddrPort(from)); err != nil {
			s.t.Fatal(err)
		}
		raw, err := s.wire.Next(soon)
		if err != nil {
			s.t.Fatal(err)
		}
		if p, err := lab.Parse(raw); err != nil || p.Dst != one || string(p.Payload) != "the answer" {
			s.t.Errorf("the host sent %v, %v", p, err)
		}
		service.nothingFrom(s, other)
	})
}
