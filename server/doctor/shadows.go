package doctor

import (
	"context"
	"slices"

	"knockkit/protocol"
	"knockkit/server"
)

// Shadows says which rules of others make gates of these profiles useless, and what to
// do, a sentence each. It asks less than [Examine] and is quick: for an install. What
// it cannot look at it leaves out.
func Shadows(ctx context.Context, backend string, profiles []*protocol.Profile) []string {
	if len(profiles) == 0 {
		return nil
	}
	f := &Facts{}
	f.Status.Backend = backend
	for _, p := range profiles {
		f.Status.Profiles = append(f.Status.Profiles, server.ProfileStatus{Profile: p, State: server.StateInstalled})
	}
	f.lookAtRules(ctx)
	var all []string
	for _, found := range slices.Concat(gates(f), knocks(f)) {
		if found.Severity == Broken || found.ID == IDUnheard {
			all = append(all, found.Found+": "+found.Todo)
		}
	}
	return all
}
