package doctor

import (
	"context"
	"fmt"
	"time"

	"knockkit/internal/rights"
	"knockkit/protocol"
	"knockkit/server"
)

// sample uses what any profile may need of the kernel.
const sample = `sequence = ["icmp", "7421/tcp", "7422/udp"]
open = ["1/tcp"]
closed = "reject"
cut = true
close = "7423/tcp"
prefix = { ipv4 = 24, ipv6 = 64 }
`

// try installs a profile with a backend in an empty network namespace, reads it back
// and removes it. The host itself is not touched.
func try(ctx context.Context, name string) error {
	return rights.InEmptyNetwork(func() error {
		p, diagnostics := protocol.ParseProfile("sample.toml", []byte(sample))
		if diagnostics.HasErrors() {
			return diagnostics
		}
		b, _, err := server.OpenBackend(ctx, name)
		if err != nil {
			return err
		}
		settings := server.DefaultSettings()
		settings.Policy.Ban = &protocol.Ban{After: 3, For: time.Minute}
		s := server.New(b, settings)
		if _, err := s.Install(ctx, []*protocol.Profile{p}, server.InstallOptions{}); err != nil {
			return err
		}
		st, err := s.Status(ctx, nil, nil)
		if err == nil && len(st.Drift) > 0 {
			err = fmt.Errorf("what was written is read back otherwise: %s", st.Drift[0])
		}
		if err != nil {
			return err
		}
		_, err = s.Remove(ctx, nil)
		return err
	})
}
