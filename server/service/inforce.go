package service

import (
	"context"
	"slices"

	"knockkit/server"
	"knockkit/server/backend"
)

// tellInForce logs why profiles are not in force, where a repair does not help: when a
// reason comes, and when it is gone. The rules of others are read again only when some
// rules have changed: that takes longer than all the rest.
func (k *keeper) tellInForce(ctx context.Context, in backend.Installed) {
	network, err := server.ReadNetwork(k.wanted.Profiles)
	if err != nil {
		k.failure("whether `interface` and `to` are right is not known", err)
		return
	}
	if k.rulesChanged && k.Shadows != nil {
		k.shadows = k.Shadows(ctx, k.wanted.Profiles)
		giveBack()
	}
	k.rulesChanged = false
	reading := server.Reading{Network: network, Shadows: k.shadows, Settings: k.wanted.Settings}
	reading.Settings.Backend = "auto" // it changes with a restart only, which a reload says
	reading.Status = server.Status{Policy: in.Policy, Foreign: in.Foreign}
	for _, p := range k.wanted.Profiles {
		reading.Status.Profiles = append(reading.Status.Profiles, server.ProfileStatus{Profile: p, State: server.StateInstalled, Enabled: true})
	}
	reasons := reading.Reasons()
	for _, r := range reasons {
		if !slices.Contains(k.told, r) {
			k.Log.Warn("not in force", "profile", r.Profile, "found", r.Found, "do", r.Todo)
		}
	}
	for _, r := range k.told {
		if !slices.Contains(reasons, r) {
			k.Log.Info("not so any more", "profile", r.Profile, "found", r.Found)
		}
	}
	k.told = reasons
}
