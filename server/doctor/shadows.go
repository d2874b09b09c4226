package doctor

import (
	"context"

	"knockkit/protocol"
	"knockkit/server"
	"knockkit/server/backend"
)

// ShadowInput is what the caller of [Shadows] has read.
type ShadowInput struct {
	Backend  string              // that the profiles are installed with
	Profiles []*protocol.Profile // as installed
	Network  server.Network
	Saved    []backend.Saved // what iptables-save need not be run for: that of the backend's reading
	Anew     bool            // Saved was read before an install, which has put our jumps first
}

// Shadows says which rules of others make gates of these profiles useless, and which let
// strangers past them perhaps. It asks less than [Examine] and is quick: for an install.
// What it cannot look at it leaves out, and of knocks it says only how many: its words go
// into logs. An error says that ctx has ended.
func Shadows(ctx context.Context, in ShadowInput) (certain, possible []server.Reason, err error) {
	if len(in.Profiles) == 0 {
		return nil, nil, nil
	}
	f := &facts{}
	f.Status.Backend = in.Backend
	for _, p := range in.Profiles {
		f.Status.Profiles = append(f.Status.Profiles, server.ProfileStatus{Profile: p, State: server.StateInstalled})
	}
	f.use(in.Network)
	f.lookAtRules(ctx, in.Saved)
	if in.Anew {
		f.Host.forgetJumps()
	}
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	heard := knocks(f)
	heard.counted = true
	for _, b := range []*book{gates(f), heard, untracked(f)} {
		for _, e := range b.entries {
			found := b.say(e)
			reason := server.Reason{Kind: server.ReasonOthers, Profile: e.profile, Found: found.Found, Why: found.Why, Todo: found.Todo}
			switch {
			case found.Severity == Broken:
				certain = append(certain, reason)
			case found.Severity == Warning && found.ID == IDBypass:
				possible = append(possible, reason)
			}
		}
	}
	return certain, possible, nil
}
