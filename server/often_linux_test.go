package server_test

import (
	"fmt"
	"net/netip"
	"testing"

	"knockkit/internal/lab/labtest"
)

// TestASourceThatStartsOverHundredsOfTimesGetsInSoonAfter is about sources behind
// one busy address. With iptables they get in at once. nftables needs a moment: the
// kernel only marks a deleted element as dead and sweeps it away once a second, and
// takes no more for one key when some dozens wait for that.
func TestASourceThatStartsOverHundredsOfTimesGetsInSoonAfter(t *testing.T) {
	gated(t, alone(t, ""), func(s *site, one, _ netip.Addr) {
		for range 300 {
			s.send(one, ping, ping, tcp(7), tcp(9))
		}
		labtest.Eventually(s.t, soon, func() error {
			s.send(one, ping, tcp(7), tcp(8000))
			if got := s.verdict(one, 3306); got != "open" {
				return fmt.Errorf("a connection is %s", got)
			}
			return nil
		})
	})
}
