package events

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"knockkit/internal/follow"
	"knockkit/internal/kernel/backend"
	"knockkit/protocol"
	"knockkit/protocol/format"
)

// Limits of what a tracker remembers, however many sources there are. Chance decides which source is
// forgotten: a flood cannot push out a chosen one.
const (
	maxTrails = 4096
	maxLeases = 4096
)

// Waiting times.
const (
	grace  = follow.Grace     // for a report that may be on its way
	recall = 10 * time.Minute // for which it is remembered why a source fell
)

// tracker turns reports into notices. It follows each source through the installed automaton, so
// that it can say which knock was expected, and notice what no packet reports: that a time is over.
// It is pure, and not safe for concurrent use.
type tracker struct {
	views  map[protocol.Family]*view
	policy protocol.Policy
	trails map[netip.Prefix]*trail // of sources, and of wider holders whose leases have ended
	leases *follow.Leases
	stale  bool          // the kernel has to be read: a report named something unknown, or an operator changed it
	acted  time.Duration // when an operator did something last: no reading that began before tells of it

	profiles []*protocol.Profile // that are installed
	identity string              // of what is installed

	named   map[useKey]time.Duration // when a user has last knocked, at the latest, as far as notices have told
	watched time.Duration            // since when every grant has been reported to us
}

// trail is the position of a source, and why it has no lease.
type trail struct {
	state int           // protocol.Root: no position
	until time.Duration // when the position's time is over; 0: never
	why   reasons
	last  time.Duration
}

// reasons are in words and by profile: the last fall from its sequence, or the end of its lease.
type reasons map[string]string

func (r *reasons) add(profile, why string) {
	if *r == nil {
		*r = reasons{}
	}
	(*r)[profile] = why
}

// newTracker returns a tracker of what is installed, in which nobody has knocked yet.
func newTracker(in backend.Installed) *tracker {
	return &tracker{views: views(in), policy: in.Policy, trails: map[netip.Prefix]*trail{}, leases: follow.New(maxLeases), acted: -1, profiles: in.Profiles, identity: identity(in), named: map[useKey]time.Duration{}}
}

// knows reports whether the tracker knows the profile and step that a report names.
func (s *tracker) knows(r report) bool {
	v := s.views[protocol.FamilyOf(r.Packet.Source)]
	switch r.Event {
	case backend.ReportKnock, backend.ReportReset:
		_, ok := v.states[stateKey{r.Profile, r.Step}]
		return ok
	case backend.ReportGrant, backend.ReportClose, backend.ReportDenied:
		return v.profile(r.Profile) != nil
	}
	return true
}

// report returns the notices that one report makes.
func (s *tracker) report(now Moment, r report) []Notice {
	src := r.Packet.Source
	v := s.views[protocol.FamilyOf(src)]
	t := s.trail(now, single(src))
	out := collector{now: now, address: src.String()}
	s.overdue(&out, v, t)
	switch r.Event {
	case backend.ReportKnock:
		s.knock(&out, v, t, r)
	case backend.ReportReset:
		if i, ok := v.states[stateKey{r.Profile, r.Step}]; ok {
			out.fall(v, i, r.Packet.Kind, protocol.Root)
		} else {
			s.stale = true
			out.add(Reset, r.Profile, r.Step, 0, "starts over: "+r.Packet.Kind+" came")
		}
		t.state, t.until = protocol.Root, 0
	case backend.ReportGrant:
		s.grant(&out, v, r)
	case backend.ReportClose:
		s.closed(&out, v, r)
	case backend.ReportBan:
		out.add(Ban, "", 0, 0, banned(s.policy.Ban))
	case backend.ReportDenied:
		p := v.profile(r.Profile)
		out.add(Denied, r.Profile, 0, steps(p), denied(r.Packet.Kind, cmp.Or(s.why(v, t, src, r.Profile), unseen(p))))
	}
	t.take(out.why)
	return out.events
}

// why returns why a source has no lease of a profile, in words; "" is not known. The kernel is right
// where it has no lease that is followed: the lease's end is not told yet.
func (s *tracker) why(v *view, t *trail, src netip.Addr, profile string) string {
	if why := cmp.Or(t.why[profile], v.waiting(t.state, profile)); why != "" {
		return why
	}
	for holder := range follow.Around(src) {
		if t := s.trails[holder]; t != nil && t.why[profile] != "" {
			return t.why[profile]
		}
	}
	if s.leases.Covers(profile, src) {
		return "its lease has ended"
	}
	return ""
}

func (s *tracker) knock(out *collector, v *view, t *trail, r report) {
	i, ok := v.states[stateKey{r.Profile, r.Step}]
	if !ok {
		s.stale = true
		out.add(Knock, r.Profile, r.Step, 0, knocked(r.Step, 0, false))
		return
	}
	if !v.follows(t.state, i) {
		out.fall(v, t.state, r.Packet.Kind, i)
	}
	for _, u := range v.States[i].Users {
		n := len(u.Profile.Sequence)
		out.add(Knock, u.Profile.Name, u.Step, n, knocked(u.Step, n, i == t.state))
		delete(t.why, u.Profile.Name)
	}
	t.state, t.until = v.States[i].Keep, 0
	if within := v.States[t.state].Within; t.state != protocol.Root && within > 0 {
		t.until = out.now.Up + within + grace
	}
}

func (s *tracker) grant(out *collector, v *view, r report) {
	src, name := r.Packet.Source, r.Profile
	p := v.profile(name)
	if p == nil {
		s.stale = true
		out.add(Grant, name, 0, 0, "open")
		return
	}
	out.add(Grant, name, len(p.Sequence), len(p.Sequence), granted(p))
	last := &out.events[len(out.events)-1]
	if last.User, last.Key = r.User.Name, r.User.Key; p.IsSigned() {
		last.Token = hex.EncodeToString(r.Packet.Start)
	}
	s.leases.Grant(out.now.Up, p, src, r.User)
	if k, ok := leaseOf(p, src); ok {
		s.clear(k)
	}
}

// closed adds the notice of a lease that is given back. Two reports, of one by hand and one from a knock, make
// one notice.
func (s *tracker) closed(out *collector, v *view, r report) {
	p := v.profile(r.Profile)
	if p == nil {
		s.stale = true
		return
	}
	k, ok := leaseOf(p, r.Packet.Source)
	if !ok || s.trails[k.Holder] != nil && s.trails[k.Holder].why[p.Name] == givenBack().why && !s.leases.Covers(p.Name, r.Packet.Source) {
		return
	}
	n := s.over(out.now, follow.Ended{Key: k, Users: s.leases.Users(k)}, givenBack())
	n.Closed = true
	s.leases.Forget(k)
	out.events = append(out.events, n)
}

// leaseOf is the lease of a profile that a knock of a source gives.
func leaseOf(p *protocol.Profile, src netip.Addr) (k follow.Key, ok bool) {
	holder, err := src.Prefix(p.Prefix(protocol.FamilyOf(src)))
	return follow.Key{Profile: p.Name, Holder: holder}, err == nil // the length of a valid profile is valid
}

// idle reports whether no time is running: tick would return nothing, however late.
func (s *tracker) idle() bool { return len(s.trails) == 0 && s.leases.Len() == 0 && !s.stale }

// tick returns notices for times that are over. It is called now and then.
func (s *tracker) tick(now Moment) []Notice {
	var all []Notice
	for src, t := range s.trails {
		if t.over(now) { // few are, of thousands
			out := collector{now: now, address: src.Addr().String()}
			s.overdue(&out, s.views[protocol.FamilyOf(src.Addr())], t)
			all = append(all, out.events...)
		}
		if t.state == protocol.Root && now.Up-t.last > recall {
			delete(s.trails, src)
		}
	}
	return append(all, s.ended(now, s.leases.Expire(now.Up))...)
}

// over reports whether the time of the position is over.
func (t *trail) over(now Moment) bool {
	return t.state != protocol.Root && t.until > 0 && now.Up > t.until
}

// overdue adds the notice that the time of a source's position is over, if it is.
func (s *tracker) overdue(out *collector, v *view, t *trail) {
	if !t.over(out.now) {
		return
	}
	out.expire(v, t.state)
	t.state, t.until = protocol.Root, 0
	t.take(out.why)
}

// take takes the falls of one report over.
func (t *trail) take(falls reasons) {
	for profile, why := range falls {
		t.why.add(profile, why)
	}
}

// trail returns a source's or holder's trail, a new one where there is none.
func (s *tracker) trail(now Moment, src netip.Prefix) *trail {
	t := s.trails[src]
	if t == nil {
		follow.MakeRoom(s.trails, maxTrails)
		t = &trail{}
		s.trails[src] = t
	}
	t.last = now.Up
	return t
}

// wantsRead reports whether a reading of the kernel would tell more: a lease should have ended, or a
// report named something unknown.
func (s *tracker) wantsRead(now Moment) bool { return s.stale || s.leases.Due(now.Up) }

// act takes over what an operator has done, and returns its notice. The lease that it has ended is
// told of once.
func (s *tracker) act(now Moment, a told) Notice {
	key, user := follow.Key{Profile: a.Profile, Holder: a.Address}, a.User
	switch a.Kind {
	case Grant:
		s.leases.Give(now.Up, key, left(a.Act))
		s.clear(key)
	case Revoke:
		user = cmp.Or(user, joined(s.leases.Users(key)))
		s.leases.Forget(key)
		s.remember(now, key, "it was revoked")
	case Remove:
		for _, k := range s.leases.ForgetProfile(a.Profile) {
			s.remember(now, k, "the profile was removed")
		}
		s.stale = true
	case Install:
		s.stale = true
	}
	s.acted = now.Up
	n := Notice{Time: now.Wall, Kind: a.Kind, Profile: a.Profile, Step: a.Steps, Steps: a.Steps, Detail: a.Detail, User: user, By: &a.By, Act: &a.Act}
	if a.Address.IsValid() {
		n.Address = protocol.PrefixText(a.Address)
	}
	return n
}

// endsEarly reports whether a reading of the kernel lacks a lease whose time is not over.
func (s *tracker) endsEarly(now Moment, r Snapshot) bool {
	return len(r.Drift) == 0 && r.Began.Up > s.acted &&
		slices.ContainsFunc(s.leases.Missing(now.Up, r.Began.Up, r.Sources), func(e follow.Ended) bool { return !e.InTime })
}

// sync takes over a reading of the kernel: how long leases still last, which have ended, and other
// profiles. The reading began at began.
func (s *tracker) sync(now, began Moment, in backend.Installed, sources []backend.Source) []Notice {
	if s.stale = began.Up <= s.acted; s.stale {
		return nil // it may show leases that an operator has ended since
	}
	if len(in.Profiles) == 0 {
		return nil // it may have been flushed, and come back
	}
	changed := s.use(now, in)
	if len(in.Drift) > 0 {
		return changed
	}
	return append(changed, s.ended(now, s.leases.Sync(now.Up, began.Up, sources))...)
}

// use makes other profiles the tracker's own, and returns notices of the leases that end with that.
// Sources keep their positions.
func (s *tracker) use(now Moment, in backend.Installed) (all []Notice) {
	text := identity(in)
	if text == s.identity {
		return nil
	}
	for _, l := range s.leases.KeepLeases(s.profiles, in.Profiles) {
		all = append(all, s.over(now, l, changed()))
	}
	s.identity, s.profiles = text, in.Profiles
	was := s.views
	s.views, s.policy = views(in), in.Policy
	for src, t := range s.trails {
		f := protocol.FamilyOf(src.Addr())
		t.state = s.views[f].same(was[f], t.state)
	}
	return all
}

// identity is a text that differs where what is installed does.
func identity(in backend.Installed) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v %v", in.Policy.Strict, in.Policy.Ban)
	for _, p := range in.Profiles {
		b.WriteString(p.Name + format.Canonical(p))
	}
	return b.String()
}

// ended returns notices for leases that have ended, in time or early.
func (s *tracker) ended(now Moment, leases []follow.Ended) []Notice {
	var all []Notice
	for _, l := range leases {
		how := inTime()
		if !l.InTime {
			how = early(protocol.Find(s.profiles, l.Profile))
		}
		all = append(all, s.over(now, l, how))
	}
	return all
}

// over returns the notice of a lease that has ended.
func (s *tracker) over(now Moment, l follow.Ended, how end) Notice {
	s.remember(now, l.Key, how.why)
	n := steps(s.views[protocol.FamilyOf(l.Holder.Addr())].profile(l.Profile))
	return Notice{Time: now.Wall, Kind: Expire, Profile: l.Profile, Address: protocol.PrefixText(l.Holder), Step: n, Steps: n, Detail: how.detail,
		User: joined(l.Users)}
}

// remember keeps why a holder has no lease, in case one of its addresses comes to the gate.
func (s *tracker) remember(now Moment, k follow.Key, why string) {
	s.clear(k)
	s.trail(now, k.Holder).why.add(k.Profile, why)
}

// clear forgets why the addresses of a holder had no lease.
func (s *tracker) clear(k follow.Key) {
	if k.Holder.IsSingleIP() {
		if t := s.trails[k.Holder]; t != nil {
			delete(t.why, k.Profile)
		}
		return
	}
	for src, t := range s.trails {
		if k.Holder.Contains(src.Addr()) && k.Holder.Bits() <= src.Bits() {
			delete(t.why, k.Profile)
		}
	}
}

// single returns the prefix of one address.
func single(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// left returns how long the lease of a grant lasts from now on, 0 for ever.
func left(a Act) time.Duration {
	if a.Lease == 0 {
		return 0
	}
	return max(a.Lease-a.Took, 1)
}
