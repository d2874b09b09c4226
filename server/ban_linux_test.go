package server_test

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"knockkit/internal/lab/labtest"
	"knockkit/protocol"
	"knockkit/server"
	"knockkit/server/backend"
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
