package server_test

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
	"knockkit/protocol"
)

// alone is a list of one profile: that of the article with more keys.
func alone(t testing.TB, more string) []*protocol.Profile {
	return []*protocol.Profile{article(t, more)}
}

func TestALeaseThatRenewsLastsAsLongAsConnectionsAreMadeAndNoLonger(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		s := newSite(t, name, strict())
		s.listen(3306)
		s.install(article(t, "renew = true\nlease = \"2s\""))
		for _, src := range everyone() {
			s.send(src, ping, tcp(7), tcp(8000))
		}
		for end := time.Now().Add(3 * time.Second); time.Now().Before(end); time.Sleep(500 * time.Millisecond) { // longer than the lease
			for _, src := range everyone() {
				s.expect("open", src, 3306)
			}
		}
		labtest.Eventually(t, 5*time.Second, func() error {
			if len(s.sources()) > 0 {
				return errors.New("the lease goes on without connections")
			}
			return nil
		})
		for _, src := range everyone() {
			s.expect("silent", src, 3306)
		}
	})
}

func TestALeaseOfZeroIsThereUntilItIsTakenAway(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		s := newSite(t, name, strict())
		s.listen(3306)
		s.install(article(t, `lease = "0"`))
		for _, src := range everyone() {
			s.send(src, ping, tcp(7), tcp(8000))
		}
		for _, lease := range s.sources() {
			if !lease.Unlimited {
				t.Errorf("%s has %s left of a lease without end", lease.Address, lease.Left)
			}
		}
		for _, src := range everyone() {
			s.expect("open", src, 3306)
			s.do(func() error {
				_, err := s.srv.Revoke(t.Context(), "mysql", single(src), false)
				return err
			})
			s.expect("silent", src, 3306)
		}
	})
}

func TestALeaseForOneConnectionLetsItsRepeatedSYNInButNoSecondConnection(t *testing.T) {
	gated(t, alone(t, "once = true"), func(s *site, one, other netip.Addr) {
		s.send(one, ping, tcp(7), tcp(8000))
		first := s.packet(one, tcp(3306))
		for _, when := range []string{"the first SYN", "the same SYN again"} {
			if got := s.answer(first); got != "syn+ack" {
				s.t.Errorf("%s gets %s, not syn+ack", when, got)
			}
		}
		s.expect("silent", one, 3306)
		if s.holds("mysql", one) {
			s.t.Error("the lease was used and is still there")
		}
		s.send(one, ping, tcp(7), tcp(8000))
		s.expect("open", one, 3306)
	})
}

// TestAServiceThatIsTooBusyForTheFirstSYNGetsItsRepetition has a service whose
// queue is full: it answers nothing, so for conntrack the repetition is NEW again.
func TestAServiceThatIsTooBusyForTheFirstSYNGetsItsRepetition(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		s := newSite(t, name, strict())
		if err := s.host.Sysctl("core/somaxconn", "0"); err != nil { // a queue for one connection
			t.Fatal(err)
		}
		service := labtest.Listen(t, s.host, "tcp", "[::]:3306")
		s.install(article(t, "once = true"))
		eachFamily(t, func(t *testing.T, one, other netip.Addr) {
			s.t = t
			waiting, err := s.host.Dial(t.Context(), "tcp", "127.0.0.1:3306") // loopback passes the gate
			if err != nil {
				t.Fatal(err)
			}
			defer waiting.Close()
			s.send(one, ping, tcp(7), tcp(8000))
			first := s.packet(one, tcp(3306))
			if got := s.answer(first); got != "silence" {
				t.Fatalf("a full queue answers with %s", got)
			}
			taken, err := service.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer taken.Close()
			if got := s.answer(first); got != "syn+ack" {
				t.Errorf("the repeated SYN gets %s, not syn+ack", got)
			}
			s.expect("silent", one, 3306)
		})
	})
}

func TestALeaseForOneConnectionLetsAUDPFlowInBeforeItIsAnswered(t *testing.T) {
	dns := []*protocol.Profile{parse(t, "dns", "sequence = [\"1001/tcp\", \"1002/tcp\"]\nopen = [\"53/udp\"]\nonce = true")}
	gated(t, dns, func(s *site, one, other netip.Addr) {
		service := s.receive(53)
		s.send(one, tcp(1001), tcp(1002))
		first, second := s.packet(one, udp(53)), s.packet(one, udp(53))
		s.inject(first, first, second, first)
		for range 3 { // the second flow, which lies between them, is not among them
			if got := service.next(s.t); got.Port() != portOf(s.t, first) {
				s.t.Errorf("a datagram came from %s, not from the first flow", got)
			}
		}
		service.nothingFrom(s, other)
	})
}

// A lease that is used starts again everywhere it is noted: in a recency table the oldest
// entry makes room for a new one.
func TestALeaseThatRenewsOutlivesThoseThatComeAfterIt(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		s := newSite(t, name, strict())
		s.listen(3306)
		s.install(article(t, "renew = true"))
		const others = 150 // of which a table keeps 100, unless the machine is set to more
		for i := range others {
			s.send(lab.ForgedAddr4(i), ping, tcp(7), tcp(8000))
			if i%20 == 0 {
				s.expect("open", lab.ForgedAddr4(0), 3306)
			}
		}
		s.expect("open", lab.ForgedAddr4(0), 3306)
	})
}
