package events

import (
	"fmt"
	"strings"

	"knockkit/protocol"
	"knockkit/server/backend"
	"knockkit/server/follow"
)

// wants reports whether a look at the kernel would tell the story more: a lease
// should be over, or a report named what is not known.
func (s *story) wants(now Moment) bool { return s.stale || s.leases.Due(now.Up) }

// sync takes in what a look at the kernel has shown: how long leases still last,
// which are over, and other profiles. The look began at the moment began.
func (s *story) sync(now, began Moment, in backend.Installed, sources []backend.Source) []Event {
	if s.stale = false; len(in.Profiles) == 0 {
		return nil // flushed, perhaps: it may come back
	}
	s.use(in)
	if len(in.Drift) > 0 {
		return nil
	}
	return s.ended(now, s.leases.Sync(now.Up, began.Up, sources))
}

// use makes other profiles the story's own. Sources keep their positions.
func (s *story) use(in backend.Installed) {
	text := identity(in)
	if text == s.identity {
		return
	}
	s.identity = text
	was := s.views
	s.views, s.policy = views(in), in.Policy
	for src, t := range s.trails {
		f := protocol.FamilyOf(src)
		t.state = s.views[f].same(was[f], t.state)
	}
}

// identity is a text that differs where what is installed does.
func identity(in backend.Installed) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v %v", in.Policy.Strict, in.Policy.Ban)
	for _, p := range in.Profiles {
		b.WriteString(p.Name + p.Canonical())
	}
	return b.String()
}

// ended tells that leases are over, in time or early.
func (s *story) ended(now Moment, leases []follow.Ended) []Event {
	var all []Event
	for _, l := range leases {
		if l.Holder.IsSingleIP() {
			s.trail(now, l.Holder.Addr()).why = over(l.InTime)
		}
		n := steps(s.views[protocol.FamilyOf(l.Holder.Addr())].profile(l.Profile))
		all = append(all, Event{Time: now.Wall, Kind: Expire, Profile: l.Profile, Address: protocol.PrefixText(l.Holder), Step: n, Steps: n, Detail: over(l.InTime)})
	}
	return all
}
