package ledger

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"time"

	"knockkit/internal/follow"
	"knockkit/internal/kernel/backend"
	"knockkit/protocol"
)

// Slack is how far the end of a lease in the kernel may be from what the ledger says: the clocks of two
// nodes may be apart, and a kernel counts whole seconds.
const Slack = 2 * time.Second

// Step is the part of a profile's time by which `renew` has to make a lease longer before the others are
// told.
const Step = 8

// Kernel is what the kernel has of leases: each holder may have one from knocks and one by hand.
type Kernel map[follow.Key][]Grant

// Grant is a lease as a kernel has it, or the part of one that a user has opened.
type Grant struct {
	End       time.Time // by the fleet's time; the zero Time: never
	User, Key string
	ByHand    bool
}

// KernelOf is the kernel by a reading that began at a time of the fleet.
func KernelOf(began time.Time, sources []backend.Source) Kernel {
	k := Kernel{}
	for _, s := range sources {
		if s.State != backend.Open {
			continue
		}
		key, end := follow.Key{Profile: s.Profile, Holder: s.Address}, endOf(began, s.Left, s.Unlimited)
		covered := false // by a user's part
		for _, u := range s.Users {
			part := Grant{End: endOf(began, u.Left, u.Unlimited), User: u.Name, Key: u.Key}
			k[key] = append(k[key], part)
			covered = covered || near(part.End, end, tolerance)
		}
		if !covered {
			k[key] = append(k[key], Grant{End: end, ByHand: s.ByHand})
		}
	}
	return k
}

func endOf(began time.Time, left time.Duration, unlimited bool) time.Time {
	if unlimited {
		return time.Time{}
	}
	return began.Add(left)
}

// Actions are what brings a kernel and the fleet together.
type Actions struct {
	Give, End []backend.Source // in this kernel
	News      []Statement      // what the kernel had and the ledger did not: for [Ledger.Adopt]
}

// Converge compares the ledger with a kernel that has these profiles. The profiles are those that this node
// shares. only are the leases to compare, by what statements say; nil: all, and those that only the kernel
// has. Of these, one that the ledger knows nothing of is news where found is true; else nothing is done
// about it.
func (l *Ledger) Converge(now time.Time, profiles []*protocol.Profile, kernel Kernel, only []follow.Key, found bool) (a Actions) {
	shared := map[string]*protocol.Profile{}
	for _, p := range profiles {
		shared[p.Name] = p
	}
	keys := slices.Values(only)
	if only == nil {
		keys = maps.Keys(l.leases)
	}
	here := map[follow.Key][]Statement{} // by what a lease covers here
	for k := range keys {
		if p := shared[k.Profile]; p != nil {
			k.Holder = widened(k.Holder, p)
			here[k] = nil
		}
	}
	l.gather(here, shared)
	if only == nil {
		for k := range kernel {
			if _, ok := here[k]; !ok && shared[k.Profile] != nil {
				here[k] = nil
			}
		}
	}
	for _, k := range slices.SortedFunc(maps.Keys(here), compareKeys) {
		c := comparison{key: k, profile: shared[k.Profile], now: now, has: kernel[k], found: found}
		c.run(l, here[k], &a)
	}
	return a
}

// gather adds to each lease here the statements about it. One about a holder that is narrower than the
// profile's prefix here is about the whole prefix.
func (l *Ledger) gather(here map[follow.Key][]Statement, shared map[string]*protocol.Profile) {
	wide := map[string]bool{} // profiles that have a lease here for a prefix
	for k := range here {
		for _, s := range l.leases[k] {
			here[k] = append(here[k], s)
		}
		if !k.Holder.IsSingleIP() {
			wide[k.Profile] = true
		}
	}
	if len(wide) == 0 {
		return
	}
	for k, parts := range l.leases {
		p := shared[k.Profile]
		if p == nil || !wide[k.Profile] {
			continue
		}
		to := follow.Key{Profile: k.Profile, Holder: widened(k.Holder, p)}
		if _, ok := here[to]; !ok || to == k {
			continue
		}
		for _, s := range parts {
			here[to] = append(here[to], s)
		}
	}
}

// widened is what a lease of a holder covers where the profile has a prefix.
func widened(holder netip.Prefix, p *protocol.Profile) netip.Prefix {
	wide, err := holder.Addr().Prefix(min(holder.Bits(), p.Prefix(protocol.FamilyOf(holder.Addr()))))
	if err != nil {
		return holder // the length of a valid profile is valid
	}
	return wide
}

func compareKeys(x, y follow.Key) int {
	return cmp.Or(cmp.Compare(x.Profile, y.Profile), x.Holder.Addr().Compare(y.Holder.Addr()), cmp.Compare(x.Holder.Bits(), y.Holder.Bits()))
}

// comparison is of one lease, as the ledger and as the kernel has it.
type comparison struct {
	key     follow.Key
	profile *protocol.Profile
	now     time.Time
	has     []Grant
	found   bool
}

func (c *comparison) run(l *Ledger, statements []Statement, a *Actions) {
	statements = slices.DeleteFunc(statements, func(s Statement) bool { return !opens(&s, c.profile) })
	slices.SortFunc(statements, latestFirst)
	inEffect := slices.DeleteFunc(slices.Clone(statements), func(s Statement) bool { return s.Over(c.now) || l.ended(&s) })
	if news := c.news(l, statements, inEffect); len(news) > 0 {
		if c.found {
			a.News = append(a.News, news...)
		}
		return
	}
	var parts []Grant
	for _, s := range inEffect {
		parts = append(parts, Grant{s.End, s.User, s.Key, s.ByHand})
	}
	is, until := last(c.has), last(parts)
	if !until.IsZero() && until.Sub(c.now) < time.Second { // too short for a kernel
		parts = nil
	}
	switch {
	case len(parts) == 0 && len(c.has) > 0 && !near(is, c.now, tolerance): // else it ends by itself
		a.End = append(a.End, c.source(is))
	case len(parts) > 0 && (len(c.has) == 0 || !near(is, until, tolerance) && !c.renewed(is, until)) && c.profile.In(protocol.FamilyOf(c.key.Holder.Addr())):
		s := c.source(until)
		for _, part := range parts {
			s.ByHand = s.ByHand || part.ByHand && part.End.Equal(until)
			if part.User != "" {
				s.Users = append(s.Users, backend.User{Name: part.User, Key: part.Key, Left: part.End.Sub(c.now), Unlimited: part.End.IsZero()})
			}
		}
		a.Give = append(a.Give, s)
	}
}

// last returns when the longest of some grants ends.
func last(grants []Grant) (end time.Time) {
	for i, g := range grants {
		if i == 0 || !end.IsZero() && (g.End.IsZero() || g.End.After(end)) {
			end = g.End
		}
	}
	return end
}

func latestFirst(x, y Statement) int {
	switch {
	case x.after(&y):
		return -1
	case y.after(&x):
		return 1
	}
	return 0
}

// tolerance is how far two ends may be apart that count as one.
const tolerance = Slack + time.Second

// near reports whether two ends are no more apart than that.
func near(x, y time.Time, apart time.Duration) bool {
	if x.IsZero() || y.IsZero() {
		return x.IsZero() && y.IsZero()
	}
	return x.Sub(y).Abs() <= apart
}

// renewed reports whether the kernel's lease ends later because connections have made it longer, by less
// than others are told.
func (c *comparison) renewed(is, until time.Time) bool {
	return c.profile.Renew && is.After(until) && near(is, until, c.profile.Lease/Step)
}

// explained reports whether one of the statements, in effect or not, says what the kernel has. A kernel may
// not know the key of the user.
func (c *comparison) explained(g Grant, statements []Statement) bool {
	return slices.ContainsFunc(statements, func(s Statement) bool {
		if s.ByHand && !g.ByHand && !g.End.IsZero() {
			return false // one of a knock
		}
		return (g.User == "" || g.User == s.User && g.Key == s.Key) && (near(g.End, s.End, tolerance) || c.renewed(g.End, s.End))
	})
}

// news are the statements that say what the kernel has and the ledger does not. What was given or made
// longer before all that was said about the holder is none: it was ended, or made shorter.
func (c *comparison) news(l *Ledger, statements, inEffect []Statement) (all []Statement) {
	for _, g := range c.has {
		s := Statement{Kind: Lease, Profile: c.key.Profile, Holder: c.key.Holder, User: g.User, Key: g.Key, Open: c.profile.Open, ByHand: g.ByHand, Stamp: c.began(g), End: g.End}
		old, known := l.statement(&s)
		switch {
		case near(g.End, c.now, tolerance) || c.explained(g, statements):
		case c.profile.Renew && len(inEffect) > 0:
			if s = inEffect[0]; !s.End.IsZero() && g.End.After(s.End) {
				s.End = g.End
				all = append(all, s)
			}
		case l.ended(&s) || known && old.Stamp >= s.Stamp || s.Stamp == unknown && len(statements) > 0:
		default:
			all = append(all, s)
		}
	}
	return all
}

// unknown is the stamp of a lease of which nobody knows when it was given.
const unknown = 1

// began returns the stamp of a lease of the kernel. When one began is known where a knock has given it, for
// the profile's own time. Any other counts less than all that was said.
func (c *comparison) began(g Grant) int64 {
	began := g.End.Add(-c.profile.Lease)
	if c.profile.Lease > 0 && !c.profile.Renew && !g.ByHand && !g.End.IsZero() && !began.After(c.now) {
		return began.UnixNano()
	}
	return unknown
}

// source is a lease of the holder until then.
func (c *comparison) source(until time.Time) backend.Source {
	n := len(c.profile.Sequence)
	s := backend.Source{Profile: c.key.Profile, Address: c.key.Holder, State: backend.Open, Step: n, Steps: n, Unlimited: until.IsZero()}
	if !s.Unlimited {
		s.Left = until.Sub(c.now)
	}
	return s
}

// Touched returns the leases that a statement may have changed, by what statements say.
func (l *Ledger) Touched(s *Statement) (keys []follow.Key) {
	if s.Kind == Lease {
		return []follow.Key{{Profile: s.Profile, Holder: s.Holder}}
	}
	for k := range l.leases {
		if k.Profile == s.Profile && (!s.Holder.IsValid() || backend.Inside(k.Holder, []netip.Prefix{s.Holder})) {
			keys = append(keys, k)
		}
	}
	return keys
}

// Origin returns the node that has said last what is in effect about a lease; "" where nothing is.
func (l *Ledger) Origin(now time.Time, p *protocol.Profile, k follow.Key) string {
	here := map[follow.Key][]Statement{k: nil}
	l.gather(here, map[string]*protocol.Profile{p.Name: p})
	var last Statement
	for _, s := range here[k] {
		if !s.Over(now) && !l.ended(&s) && opens(&s, p) && (last.Node == "" || s.after(&last)) {
			last = s
		}
	}
	return last.Node
}

// opens reports whether a lease was given for all that a profile opens.
func opens(s *Statement, p *protocol.Profile) bool {
	return len(backend.MorePorts(s.Open, p.Open)) == 0
}
