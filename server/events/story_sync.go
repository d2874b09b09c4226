package events

import (
	"fmt"
	"strings"

	"knockkit/protocol"
	"knockkit/server/backend"
)

// Wants reports whether a look at the kernel would tell the story more: a lease
// should be over, or a report named what is not known.
func (s *Story) Wants(now Moment) bool {
	if s.stale {
		return true
	}
	for _, l := range s.leases {
		if l.until > 0 && now.Up > l.until {
			return true
		}
	}
	return false
}

// Sync takes in what a look at the kernel has shown: how long leases still last,
// which are over, and other profiles. The look began at the moment began.
func (s *Story) Sync(now, began Moment, in backend.Installed, sources []backend.Source) []Event {
	if s.stale = false; len(in.Profiles) == 0 {
		return nil // flushed, perhaps: it may come back
	}
	s.use(in)
	if len(in.Drift) > 0 {
		return nil
	}
	held := map[holding]backend.Source{}
	for _, src := range sources {
		if src.State == backend.Open {
			held[holding{src.Profile, src.Address}] = src
		}
	}
	var all []Event
	for h, l := range s.leases {
		if _, still := held[h]; !still && l.since < began.Up {
			all = append(all, s.ended(now, h, l.until > 0 && now.Up+grace > l.until))
		}
	}
	for h, src := range held {
		l := s.leases[h]
		if l == nil {
			forget(s.leases, maxLeases)
			l = &lease{since: began.Up}
			s.leases[h] = l
		}
		if l.until = 0; !src.Unlimited {
			l.until = began.Up + src.Left + grace
		}
	}
	return all
}

// use makes other profiles the story's own. Sources keep their positions.
func (s *Story) use(in backend.Installed) {
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

// ended tells that a lease is over, in time or early, and forgets it.
func (s *Story) ended(now Moment, h holding, inTime bool) Event {
	delete(s.leases, h)
	if h.holder.IsSingleIP() {
		s.trail(now, h.holder.Addr()).why = over(inTime)
	}
	n := 0
	if p := s.views[protocol.FamilyOf(h.holder.Addr())].profile(h.profile); p != nil {
		n = len(p.Sequence)
	}
	return Event{Time: now.Wall, Kind: Expire, Profile: h.profile, Address: protocol.PrefixText(h.holder), Step: n, Steps: n, Detail: over(inTime)}
}
