package doctor

import (
	"context"
	"slices"

	"knockkit/protocol"
	"knockkit/server"
)

// Shadows says which rules of others make gates of these profiles useless, and which let
// strangers past them perhaps. It asks less than [Examine] and is quick: for an install.
// What it cannot look at it leaves out, and of knocks it says only how many: its words go
// into logs.
func Shadows(ctx context.Context, backend string, profiles []*protocol.Profile) (certain, possible []server.Reason) {
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
	for _, found := range slices.Concat(gates(f), f.followKnocks(book{counted: true}), untracked(f)) {
		reason := server.Reason{Kind: server.ReasonOthers, Found: found.Found, Why: found.Why, Todo: found.Todo}
		switch {
		case found.Severity == Broken:
			certain = append(certain, reason)
		case found.Severity == Warning && found.ID == IDBypass:
			possible = append(possible, reason)
		}
	}
	return certain, possible
}
