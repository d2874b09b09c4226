package server_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"knockkit/internal/kernel/backend"
	"knockkit/internal/lab/labtest"
	"knockkit/protocol"
	"knockkit/server"
)

// banning are settings that ban after two falls.
func banning(d time.Duration) server.Settings {
	settings := server.DefaultSettings()
	settings.Policy.Ban = &protocol.Ban{After: 2, For: d}
	return settings
}

// fall lets a source fall from a position back to none.
func (s *site) fall(src netip.Addr) { s.send(src, ping, tcp(9)) }

func (s *site) banned(src netip.Addr) bool {
	s.t.Helper()
	return slices.ContainsFunc(s.sources(), func(x backend.Source) bool {
		return x.State == backend.Banned && x.Address.Contains(src)
	})
}

func TestABannedSourceIsDroppedAtTheGatesAndItsKnocksAreIgnored(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		s := newSite(t, name, banning(time.Hour))
		s.listen(3306)
		s.install(article(t, `closed = "reject"`))
		eachFamily(t, func(t *testing.T, one, other netip.Addr) {
			s.t = t
			s.fall(one)
			s.expect("refused", one, 3306)
			if s.banned(one) {
				t.Error("one fall is not enough for a ban")
			}
			s.fall(one)
			if !s.banned(one) || s.banned(other) {
				t.Error("two falls ban the source, and nobody else")
			}
			s.expect("silent", one, 3306)
			s.send(one, ping, tcp(7), tcp(8000))
			s.expect("silent", one, 3306)
			if s.holds("mysql", one) {
				t.Error("a banned source knocked its way in")
			}
			if got := s.answerTo(one, tcp(22)); got != "rst+ack" {
				t.Errorf("beside the gates a banned source gets %s: the host's own rules decide there", got)
			}
			s.expect("refused", other, 3306)
		})
	})
}

func TestABanEndsAfterItsTimeAndTheLeaseThatWasThereIsGoodAgain(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		s := newSite(t, name, banning(2*time.Second))
		s.listen(3306)
		s.install(article(t, ""))
		for _, src := range everyone() {
			s.send(src, ping, tcp(7), tcp(8000))
			s.expect("open", src, 3306)
			for _, banned := range []netip.Addr{src, src.Next()} {
				s.fall(banned)
				s.fall(banned)
				s.expect("silent", banned, 3306)
			}
		}
		labtest.Eventually(t, 2*soon, func() error {
			for _, src := range everyone() {
				if s.banned(src) || s.banned(src.Next()) {
					return errors.New("the ban goes on")
				}
			}
			return nil
		})
		for _, src := range everyone() {
			s.expect("open", src, 3306)
			s.send(src.Next(), ping, tcp(7), tcp(8000))
			s.expect("open", src.Next(), 3306)
		}
	})
}

// TestAFirstKnockThatCameInElsewhereIsAFall: it is none, so the source has no position
// behind it. From a source without a position it is nothing at all.
func TestAFirstKnockThatCameInElsewhereIsAFall(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		s := newSite(t, name, banning(time.Hour))
		second4, second6 := netip.MustParsePrefix("198.51.100.9/28"), netip.MustParsePrefix("2001:db8::9/64")
		for _, addr := range []netip.Prefix{second4, second6} {
			if err := s.host.AddAddr(s.host.Interfaces[0].Name, addr); err != nil {
				t.Fatal(err)
			}
		}
		const there = "to = [\"198.51.100.9/32\", \"2001:db8::9/128\"]\n"
		s.install(parse(t, "web", "sequence = [\"7/tcp\", \"8000/tcp\"]\nopen = [\"80/tcp\"]"),
			parse(t, "db", there+"sequence = [\"9000/tcp\", \"9001/tcp\"]\nopen = [\"5432/tcp\"]"),
			parse(t, "ping", there+"sequence = [\"icmp\", \"9002/tcp\"]\nopen = [\"5433/tcp\"]"))
		there2 := s.at(second4.Addr(), second6.Addr())
		eachFamily(t, func(t *testing.T, one, other netip.Addr) {
			s.t, there2.t = t, t
			for i, knock := range []protocol.Knock{tcp(9000), ping} {
				for range 5 {
					s.send(one, knock)
				}
				s.send(one, tcp(7))
				there2.send(one, knock, tcp(22)) // the second is a fall, the first is not
				if s.banned(one) {
					t.Errorf("%s: banned before the second fall", knock)
				}
				s.send(one, tcp(7), knock)
				if !s.banned(one) {
					t.Errorf("%s from a position, but to another address, is no fall", knock)
				}
				one = forged(protocol.FamilyOf(one), 100+i)
			}
		})
	})
}

// TestWhoCannotBeCountedIsNotBanned is about nftables, whose sets refuse new sources
// when they are full: a flood of falls would have everybody banned at the first one.
func TestWhoCannotBeCountedIsNotBanned(t *testing.T) {
	s := newSite(t, "nftables", banning(time.Hour))
	s.listen(3306)
	s.install(article(t, ""))
	for _, f := range protocol.Families() {
		var all strings.Builder
		set := map[protocol.Family]string{protocol.IPv4: "fall4.1", protocol.IPv6: "fall6.1"}[f]
		fmt.Fprintf(&all, "add element inet knockd %s { ", set)
		for i := range 65_535 {
			fmt.Fprintf(&all, "%s timeout 1h, ", forged(f, i))
		}
		labtest.MustRun(t, s.host, all.String()+"}\n", "nft", "-f", "-")
	}
	strangers := []netip.Addr{netip.MustParseAddr("198.51.100.77"), netip.MustParseAddr("2001:db8:77::1")}
	counted := []netip.Addr{forged(protocol.IPv4, 5), forged(protocol.IPv6, 5)}
	for _, src := range append(strangers, counted...) {
		s.fall(src)
		s.fall(src)
	}
	var banned []netip.Addr
	for _, x := range s.sources() {
		if x.State == backend.Banned {
			banned = append(banned, x.Address.Addr())
		}
	}
	if !slices.Equal(banned, counted) {
		t.Errorf("%v are banned; counted were only the falls of %v", banned, counted)
	}
}
