//go:build linux

package stage

import (
	"fmt"
	"math/rand/v2"
	"time"

	"knockkit/protocol"
)

// Profiles returns n profiles, the same ones on every call: sequences of three TCP
// ports from 10000 up, each used once, and one opened port each from 1024 up. So
// none shares a position with another, as with sequences drawn at random.
// n is at most 8,000.
func Profiles(n int, within time.Duration) ([]*protocol.Profile, error) {
	ports := rand.New(rand.NewPCG(1, 2)).Perm(50_000)
	profiles := make([]*protocol.Profile, n)
	for i := range profiles {
		name := fmt.Sprintf("p%04d", i)
		text := fmt.Sprintf("sequence = [\"%d/tcp\", \"%d/tcp\", \"%d/tcp\"]\nwithin = \"%s\"\nopen = [\"%d/tcp\"]\n",
			10_000+ports[3*i], 10_000+ports[3*i+1], 10_000+ports[3*i+2], protocol.FormatDuration(within), 1024+i)
		p, diagnostics := protocol.ParseProfile(name+".toml", []byte(text))
		if diagnostics.HasErrors() {
			return nil, diagnostics
		}
		profiles[i] = p
	}
	return profiles, nil
}

// Unused is a TCP port that no profile of [Profiles] knocks on or opens.
const Unused = 9_500
