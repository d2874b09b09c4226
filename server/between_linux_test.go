package server_test

import (
	"sync"
	"testing"
	"time"

	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
)

// TestALookDuringAFlushIsNotTakenForAHostWithoutLeases lets another tool empty all rules at
// every moment of a reading.
func TestALookDuringAFlushIsNotTakenForAHostWithoutLeases(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		s := newSite(t, name, strict())
		flush := func() {
			if name == "nftables" {
				labtest.MustRun(t, s.host, "", "nft", "flush", "ruleset")
				return
			}
			labtest.MustRun(t, s.host, "", "iptables", "-F")
			labtest.MustRun(t, s.host, "", "ip6tables", "-F")
		}
		const rounds, step = 24, 500 * time.Microsecond
		for i := range rounds {
			s.install(article(t, ""))
			s.grant("mysql", lab.ForgedAddr4(1), 0)
			var flushed sync.WaitGroup
			flushed.Go(func() {
				time.Sleep(time.Duration(i) * step) // the moment is what differs from round to round
				flush()
			})
			s.do(func() error {
				r, err := s.srv.Read(t.Context(), 0)
				if orderly := err == nil && len(r.Drift) == 0 && len(r.Profiles) == 1; orderly && len(r.Sources) != 1 {
					t.Errorf("nothing seems to be wrong, and the lease is gone: %+v", r.Sources)
				}
				return nil
			})
			flushed.Wait()
		}
	})
}
