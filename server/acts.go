package server

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	"knockkit/internal/kernel/backend"
	"knockkit/internal/say"
	"knockkit/protocol"
	"knockkit/protocol/format"
	"knockkit/server/events"
)

// tell passes on what was done, to whoever wants to know. The caller has the lock.
func (s *Server) tell(ctx context.Context, acts ...events.Act) {
	if s.Acted != nil && len(acts) > 0 {
		s.Acted(ctx, acts)
	}
}

// granted is the act of a grant.
func granted(p *protocol.Profile, g Granted) events.Act {
	detail := "open until it is revoked"
	if g.Lasts > 0 {
		detail = "open for " + say.Duration(g.Lasts)
	}
	if g.Once {
		detail += ", for one connection"
	}
	if len(g.Drift) > 0 {
		detail += ", if at all: the rules have drifted"
	}
	return events.Act{Kind: events.Grant, Profile: p.Name, Address: g.Covers, Steps: len(p.Sequence), Lease: g.Lasts, Detail: detail}
}

// revoked is the act of a revocation.
func revoked(p *protocol.Profile, holder netip.Prefix) events.Act {
	return events.Act{Kind: events.Revoke, Profile: p.Name, Address: holder, Steps: len(p.Sequence), Detail: "the lease is revoked"}
}

// scope is the act that says which leases were to end: of a profile, of the holders inside a prefix, the zero
// Prefix for all, and of a user, "" for all.
func scope(profile string, within netip.Prefix, user string) events.Act {
	return events.Act{Kind: events.Scope, Profile: profile, Address: within, User: user}
}

// unbanned are the acts of lifted bans.
func unbanned(lifted []netip.Addr) (acts []events.Act) {
	for _, a := range lifted {
		acts = append(acts, events.Act{Kind: events.Unban, Address: netip.PrefixFrom(a, a.BitLen()), Detail: "the ban is lifted"})
	}
	return acts
}

// acts are those of an install or a removal, one for each profile.
func (c Change) acts(trial time.Duration) (acts []events.Act) {
	add := func(kind events.Kind, names []string, detail string) {
		for _, name := range names {
			acts = append(acts, events.Act{Kind: kind, Profile: name, Detail: detail})
		}
	}
	how := ""
	if trial > 0 {
		how = " for a trial of " + say.Duration(trial)
	}
	why := ""
	if len(c.Settings) > 0 {
		why = ": " + strings.Join(c.Settings, " and ") + " of knockd.toml changed"
	}
	add(events.Install, c.Added, "installed"+how)
	add(events.Install, c.Updated, "installed again"+how+why)
	add(events.Remove, c.Removed, "removed"+how)
	return acts
}

// undoing undoes a trial, and tells which profiles have changed by that.
func (s *Server) undoing(ctx context.Context, undo func() error) error {
	was, failed := s.read(ctx, backend.Depth{}) // the record alone: nothing may keep the old rules waiting
	if err := undo(); err != nil || failed != nil {
		return err
	}
	is, err := s.read(ctx, backend.Depth{})
	if err != nil {
		return nil // it is undone
	}
	back := compare(was.Profiles, is.Profiles, is.Profiles)
	settings := was.Policy.Differs(is.Policy)
	back.Updated = slices.DeleteFunc(back.Updated, func(name string) bool {
		return len(settings) == 0 && format.Canonical(protocol.Find(was.Profiles, name)) == format.Canonical(protocol.Find(is.Profiles, name))
	})
	s.tell(ctx, endOfTrial(back, "undone")...)
	return nil
}

// endOfTrial are the acts of what the end of a trial has changed, or made to stay.
func endOfTrial(c Change, how string) []events.Act {
	acts := c.acts(0)
	for i := range acts {
		acts[i].Detail += ": the trial is " + how
	}
	return acts
}
