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
func (k *keeper) tellInForce(ctx context.Context, is *backend.Reading) {
	network, err := server.ReadNetwork(k.wanted.Profiles)
	if err != nil {
		k.failure("whether `interface` and `to` are right is not known", err)
		return
	}
	if k.rulesChanged && k.Shadows != nil {
		k.shadows = k.Shadows(ctx, is, network, k.wanted.Profiles)
		giveBack()
	}
	k.rulesChanged = false
	settings := k.wanted.Settings
	settings.Backend = "auto" // it changes with a restart only, which a reload says
	st := server.StatusOf(is, k.wanted.Profiles, nil)
	st.Drift = nil // there is none: it would have been put right
	reasons := server.NotInForce(st, settings, network, k.shadows)
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
