package server_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"knockkit/internal/kernel/backend"
	"knockkit/internal/lab/labtest"
	"knockkit/protocol"
)

// TestStatusSaysToASecondHowLongSomethingStillLasts lets two seconds go by and
// holds what is left against the clock on the wall: for leases, leases given by
// hand, positions and bans.
func TestStatusSaysToASecondHowLongSomethingStillLasts(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		settings := strict()
		settings.Policy.Ban = &protocol.Ban{After: 1, For: time.Minute}
		s := newSite(t, name, settings)
		s.install(article(t, "lease = \"10s\"\nwithin = \"20s\""), parse(t, "forever", "sequence = [\"1001/tcp\"]\nopen = [\"80/tcp\"]\nlease = \"0\""))
		type expectation struct {
			what  string
			since time.Time
			lasts time.Duration // 0: no end
		}
		want := map[string]expectation{}
		expect := func(src netip.Addr, state backend.SourceState, what string, lasts time.Duration) {
			want[fmt.Sprintf("%s %s", src, state)] = expectation{what, time.Now(), lasts}
		}
		for i, src := range []func(int) netip.Addr{forged4, forged6} {
			s.send(src(1), ping, tcp(7), tcp(8000))
			expect(src(1), backend.Open, "a lease that was knocked for", 10*time.Second)
			s.send(src(2), ping, tcp(7))
			expect(src(2), backend.Knocking, "a position", 20*time.Second)
			s.send(src(3), ping, tcp(9))
			expect(src(3), backend.Banned, "a ban", time.Minute)
			s.grant("mysql", src(4), 0)
			expect(src(4), backend.Open, "a lease that was granted", 10*time.Second)
			s.grant("mysql", src(5), 30*time.Minute)
			expect(src(5), backend.Open, "a lease granted for a time of its own", 30*time.Minute)
			s.send(src(6), tcp(1001))
			expect(src(6), backend.Open, "a lease without end", 0)
			if len(want) != 6*(i+1) {
				t.Fatal("two expectations of one source")
			}
		}
		oldest := time.Now()
		labtest.Eventually(t, soon, func() error {
			if d := time.Since(oldest); d < 2*time.Second {
				return fmt.Errorf("only %s", d)
			}
			return nil
		})
		for _, x := range s.sources() {
			key := fmt.Sprintf("%s %s", x.Address.Addr(), x.State)
			e, ok := want[key]
			delete(want, key)
			switch left := e.lasts - time.Since(e.since); {
			case !ok:
				t.Errorf("%s: nobody did that", key)
			case e.lasts == 0 && !x.Unlimited:
				t.Errorf("%s of %s ends in %s", e.what, key, x.Left)
			case e.lasts > 0 && (x.Unlimited || (x.Left-left).Abs() > time.Second):
				t.Errorf("%s of %s ends in %s; by the clock on the wall in %s", e.what, key, x.Left, left)
			}
		}
		for key, e := range want {
			t.Errorf("%s: %s is missing", key, e.what)
		}
	})
}
