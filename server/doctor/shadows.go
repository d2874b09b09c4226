package doctor

import (
	"context"
	"slices"

	"knockkit/protocol"
	"knockkit/server"
)

// Shadows says which rules of others make gates of these profiles useless, and which let
// strangers past them perhaps, or in some cases: a sentence each, with what to do. It asks
// less than [Examine] and is quick: for an install. What it cannot look at it leaves out.
func Shadows(ctx context.Context, backend string, profiles []*protocol.Profile) (certain, possible []string) {
	if len(profiles) == 0 {
		return nil, nil
	}
	f := &Facts{}
	f.Status.Backend = backend
	for _, p := range profiles {
		f.Status.Profiles = append(f.Status.Profiles, server.ProfileStatus{Profile: p, State: server.StateInstalled})
	}
	f.lookAtRules(ctx)
	f.lookAtNetwork()
	for _, found := range slices.Concat(gates(f), knocks(f), untracked(f)) {
		sentence := found.Found + ": " + found.Todo
		switch {
		case found.Severity == Broken:
			certain = append(certain, sentence)
		case found.Severity == Warning && slices.Contains([]string{IDUnheard, IDBypass}, found.ID):
			possible = append(possible, sentence)
		}
	}
	return certain, possible
}
