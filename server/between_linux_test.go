package server_test

import (
	"context"
	"testing"

	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
	"knockkit/server"
	"knockkit/server/backend"
)

// interrupted is a backend that another tool gets in the way of: between its first
// answer and its second.
type interrupted struct {
	server.Backend
	between func()
	asked   int
}

func (b *interrupted) ask() {
	if b.asked++; b.asked == 2 {
		b.between()
	}
}

func (b *interrupted) Installed(ctx context.Context) (backend.Installed, error) {
	b.ask()
	return b.Backend.Installed(ctx)
}

func (b *interrupted) Sources(ctx context.Context) ([]backend.Source, error) {
	b.ask()
	return b.Backend.Sources(ctx)
}

func TestALookDuringAFlushIsNotTakenForAHostWithoutLeases(t *testing.T) {
	eachBackend(t, func(t *testing.T, name string) {
		s := newSite(t, name, strict())
		s.install(article(t, ""))
		s.grant("mysql", lab.ForgedAddr4(1), 0)
		flush := func() {
			if name == "nftables" {
				labtest.MustRun(t, s.host, "", "nft", "flush", "ruleset")
				return
			}
			labtest.MustRun(t, s.host, "", "iptables", "-F")
			labtest.MustRun(t, s.host, "", "ip6tables", "-F")
		}
		srv := server.New(&interrupted{Backend: s.srv.Backend(), between: flush}, strict())
		s.do(func() error {
			is, sources, err := srv.Look(t.Context())
			if orderly := err == nil && len(is.Drift) == 0 && len(is.Profiles) == 1; orderly && len(sources) != 1 {
				t.Errorf("nothing seems to be wrong, and the lease is gone: %+v", sources)
			}
			return nil
		})
	})
}
