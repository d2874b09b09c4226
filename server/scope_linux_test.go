package server_test

import (
	"net/netip"
	"testing"

	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
	"knockkit/protocol"
)

func TestAProfileOfOneFamilyLeavesTheOtherAlone(t *testing.T) {
	for _, only := range protocol.Families() {
		t.Run(only.String(), func(t *testing.T) {
			gated(t, alone(t, `family = "`+only.String()+`"`), func(s *site, one, other netip.Addr) {
				want := "silent"
				if protocol.FamilyOf(one) != only {
					want = "open" // there is no gate
				}
				s.expect(want, one, 3306)
				s.send(one, ping, tcp(7), tcp(8000))
				s.expect("open", one, 3306)
				s.expect(want, other, 3306)
				if protocol.FamilyOf(one) != only && len(s.sources()) > 2 {
					s.t.Errorf("the other family's knocks are noted: %v", s.sources())
				}
			})
		})
	}
}

func TestRightKnocksFromOutsideOfFromOpenNothing(t *testing.T) {
	from := alone(t, `from = ["10.9.0.1/32", "2001:db8:9:1::/64"]`)
	gated(t, from, func(s *site, inside, outside netip.Addr) {
		s.send(outside, ping, tcp(7), tcp(8000))
		if s.holds("mysql", outside) {
			s.t.Error("a source outside of `from` has a lease")
		}
		s.expect("silent", outside, 3306)
		s.expect("silent", inside, 3306)
		s.send(inside, ping, tcp(7), tcp(8000))
		s.expect("open", inside, 3306)
		s.expect("silent", outside, 3306)
	})
}

func TestALeaseOfAPrefixDoesNotReachOutOfFrom(t *testing.T) {
	from := alone(t, `from = ["10.9.7.0/25", "2001:db8:9:7::1/128"]
prefix = { ipv4 = 24, ipv6 = 64 }`)
	gated(t, from, func(s *site, forged, _ netip.Addr) {
		one, near, _ := neighbours(protocol.FamilyOf(forged))
		s.send(one, ping, tcp(7), tcp(8000))
		s.expect("open", one, 3306)
		s.expect("silent", near, 3306)
	})
}

// at is a site whose packets go to another address of the host.
func (s *site) at(four, six netip.Addr) *site {
	other := *s
	host := *s.host
	host.Addr4, host.Addr6 = four, six
	other.host, other.port = &host, s.port+10000
	return &other
}

func TestWithToTheGateAndTheKnocksAreAtOneAddressOfTheHostOnly(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		s := newSite(t, name, strict())
		second4, second6 := netip.MustParsePrefix("198.51.100.9/28"), netip.MustParsePrefix("2001:db8::9/64")
		for _, addr := range []netip.Prefix{second4, second6} {
			if err := s.host.AddAddr(s.host.Interfaces[0].Name, addr); err != nil {
				t.Fatal(err)
			}
		}
		s.listen(3306)
		s.install(article(t, `to = ["198.51.100.9/32", "2001:db8::9/128"]`))
		eachFamily(t, func(t *testing.T, one, other netip.Addr) {
			s.t = t
			gate := s.at(second4.Addr(), second6.Addr())
			s.expect("open", one, 3306)
			gate.expect("silent", one, 3306)
			s.send(one, ping, tcp(7), tcp(8000))
			gate.expect("silent", one, 3306)
			gate.send(one, ping, tcp(7))
			s.send(one, tcp(8000))
			gate.expect("silent", one, 3306)
			gate.send(one, ping, tcp(7), tcp(8000))
			gate.expect("open", one, 3306)
			gate.expect("silent", other, 3306)
		})
	})
}

func TestWithInterfaceTheGateAndTheKnocksAreOnOneLinkOnly(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		s := newSite(t, name, strict())
		inside := *s
		inside.wire = labtest.Wire(t, s.host)
		s.listen(3306)
		s.install(article(t, `interface = "`+s.host.Interfaces[1].Name+`"`))
		for _, src := range []netip.Addr{inside.wire.Peer4, inside.wire.Peer6} {
			// A source on the second link may send over the first too; it is answered over the second.
			s.send(src, ping, tcp(7), tcp(8000))
			inside.answers()
			inside.expect("silent", src, 3306)
			s.send(src, tcp(3306))
			if got := inside.answers(); len(got) != 1 || !got[0].Flags.Has(lab.FlagSYN|lab.FlagACK) {
				t.Errorf("over the other link: %v, want one syn+ack", got)
			}
			inside.send(src, ping, tcp(7), tcp(8000))
			inside.expect("open", src, 3306)
		}
	})
}
