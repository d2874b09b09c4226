package service

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	"knockkit/internal/follow"
	"knockkit/internal/kernel/backend"
	"knockkit/protocol"
	"knockkit/server"
	"knockkit/server/events"
	"knockkit/server/fleet"
	"knockkit/server/fleet/ledger"
)

// Fleet is this host as its fleet has it: [*fleet.Process].
type Fleet interface {
	Config() fleet.Config
	Run(ctx context.Context) error
	Batches() <-chan fleet.Batch
	Put(id fleet.ID, value []byte, until time.Time)
	Tell(id fleet.ID, value []byte)
	Again()
	Offset() (d time.Duration, apart bool)
	Health() fleet.Health
}

// member is this host as a node of a fleet. It belongs to the keeper.
//
// What happens here is said to the others: reports of grants and of close knocks, and what operators do.
// What they say becomes leases here, in one commit for all that came together. Each check compares all
// leases of the kernel with all that was said, so that nothing depends on a report or a message that is
// lost.
type member struct {
	*keeper
	fleet   Fleet
	ledger  *ledger.Ledger
	journal *journal

	caughtUp  bool // the store has told all
	apart     bool // the clock is not the fleet's
	installed bool // somebody has installed profiles since the last check: what was there may have been flushed
}

// newMember returns the member, which knows what its journal has.
func newMember(ctx context.Context, k *keeper, f Fleet) (*member, error) {
	c := f.Config()
	m := &member{keeper: k, fleet: f, ledger: ledger.New(c.Node, len(c.Secrets))}
	j, said, err := openJournal(c.Store, m.now())
	if err != nil {
		return nil, err
	}
	for _, s := range said {
		m.ledger.Adopt(s)
	}
	m.journal = j
	return m, m.takeSpooled(ctx)
}

// time is the fleet's time at a moment of the machine's clock.
func (m *member) time(wall time.Time) time.Time {
	ahead, _ := m.fleet.Offset()
	return wall.Add(ahead)
}

func (m *member) now() time.Time { return m.time(m.clock().Wall) }

// shared returns the profiles whose leases are the fleet's.
func shared(all []*protocol.Profile) (some []*protocol.Profile) {
	for _, p := range all {
		if p.Shared() {
			some = append(some, p)
		}
	}
	return some
}

// say says something that has happened here.
func (m *member) say(at time.Time, s ledger.Statement) {
	s = m.ledger.Say(m.time(at), s)
	m.keep(s)
	if _, apart := m.fleet.Offset(); !apart {
		m.tell(s)
		m.put(s)
	}
}

// tell tells the nodes that are connected, at once: those that are not find it in the store.
func (m *member) tell(s ledger.Statement) { m.fleet.Tell(fleet.ID(s.ID()), s.Encode()) }

// keep writes a statement of this node to the disk.
func (m *member) keep(s ledger.Statement) {
	err := m.journal.add(s)
	if err == nil && m.journal.lines > m.journal.most {
		err = m.journal.rewrite(m.ledger.SaidSince(time.Time{}, m.now()))
	}
	if err != nil {
		m.failure("what this node tells the fleet cannot be kept on disk", err)
	}
}

func (m *member) put(s ledger.Statement) {
	m.fleet.Put(fleet.ID(s.ID()), s.Encode(), s.End)
}

// putUnstored tells the others all that the store does not have.
func (m *member) putUnstored() {
	for _, s := range m.ledger.Unstored(m.now()) {
		m.put(s)
	}
	for _, id := range m.ledger.Endless() {
		m.fleet.Put(fleet.ID(id), nil, time.Time{})
	}
}

// granted says that a knock has opened.
func (m *member) granted(p *protocol.Profile, source netip.Addr, e events.Notice) {
	holder, err := source.Prefix(p.Prefix(protocol.FamilyOf(source)))
	if err != nil || !p.Shared() {
		return
	}
	s := ledger.Statement{Kind: ledger.Lease, Profile: p.Name, Holder: holder, User: e.User, Key: e.Key, Open: p.Open, Spent: m.spentBy(e)}
	if p.Lease > 0 {
		s.End = m.time(e.Time).Add(p.Lease)
	}
	m.say(e.Time, s)
}

// givenBackFor is how long it is remembered that a holder has given a lease back, if the lease was not longer.
// There are many of these: what an operator ends is remembered for longer.
const givenBackFor = 24 * time.Hour

// closed says that the lease of a holder is over.
func (m *member) closed(at time.Time, profile string, holder netip.Prefix) {
	p := protocol.Find(m.wanted.Profiles, profile)
	if p == nil || !p.Shared() {
		return
	}
	s := ledger.Statement{Kind: ledger.Ending, Profile: p.Name, Holder: holder}
	longest, known := m.ledger.Longest(follow.Key{Profile: p.Name, Holder: holder})
	if p.Lease > 0 && (!known || !longest.IsZero()) {
		s.End = m.time(at).Add(max(givenBackFor, p.Lease))
		if longest.After(s.End) {
			s.End = longest
		}
	}
	m.say(at, s)
}

// act says what an operator has done here.
func (m *member) act(at time.Time, a events.Act) {
	p := protocol.Find(m.wanted.Profiles, a.Profile)
	if p == nil || !p.Shared() {
		return
	}
	switch a.Kind {
	case events.Scope:
		m.say(at, ledger.Statement{Kind: ledger.Ending, Profile: p.Name, Holder: a.Address, User: a.User})
	case events.Grant:
		s := ledger.Statement{Kind: ledger.Lease, Profile: p.Name, Holder: a.Address, Open: p.Open}
		if s.ByHand = a.Lease != p.Lease || a.Address.Bits() != p.Prefix(protocol.FamilyOf(a.Address.Addr())); a.Lease > 0 {
			s.End = m.time(at).Add(a.Lease - a.Took)
		}
		m.say(at, ledger.Statement{Kind: ledger.Ending, Profile: p.Name, Holder: a.Address}) // it replaces what the holder had
		m.say(at, s)
	case events.Install:
		m.installed = true
	}
}

// take takes in what the store tells.
func (m *member) take(ctx context.Context, b fleet.Batch) {
	if m.isApart() {
		return
	}
	now, again := m.now(), b.CaughtUp
	if b.Again {
		m.ledger.Reconnected()
		m.caughtUp = false
	}
	var touched []follow.Key
	var spent []ledger.Spent
	for _, r := range b.Records {
		if r.Value == nil {
			again = m.ledger.Deleted(now, ledger.ID(r.ID), r.Secret) || again
			continue
		}
		s, err := ledger.Decode(r.Value)
		if err != nil || fleet.ID(s.ID()) != r.ID {
			m.Log.Debug("a statement of the fleet that cannot be read", "err", err)
			continue
		}
		spent = append(spent, m.ledger.Unspent(now, &s)...)
		news, older := m.ledger.Merge(now, s, r.Secret, m.caughtUp)
		if again = again || older; news {
			touched = append(touched, m.ledger.Touched(&s)...)
		}
	}
	m.spend(ctx, spent)
	if len(touched) > 0 {
		m.converge(ctx, touched)
	}
	if last := b.Returned; !last.IsZero() {
		said := m.ledger.SaidSince(m.time(last).Add(-missedTime), now)
		for _, s := range said[:min(len(said), mostTold)] {
			m.tell(s)
		}
	}
	if again {
		m.putUnstored()
	}
	if b.CaughtUp {
		m.caughtUp = true
		leases, endings := m.ledger.Len(now)
		m.Log.Info("fleet: has all that was said", "leases", leases, "endings", endings)
		m.converge(ctx, nil)
	}
}

// isApart reports whether the clock of this machine is too far from the others': ends and the order of what
// was said would mean nothing. When it is right again, the store tells all.
func (m *member) isApart() bool {
	ahead, apart := m.fleet.Offset()
	if apart == m.apart {
		return apart
	}
	if m.apart = apart; apart {
		m.Log.Error("fleet: no part in it: the clock of this machine is not the fleet's", "apart", ahead.Abs().Truncate(time.Second), "do", "set the clock: timedatectl set-ntp true")
		return true
	}
	m.Log.Info("fleet: the clock is right again")
	m.fleet.Again()
	return false
}

// missedTime is how long before its last word a node that was away may have missed what was told.
const missedTime = 10 * time.Second

// mostTold is how much is told to a node that has come. It finds the rest in the store.
const mostTold = 1000

// converge brings the kernel to what was said, about some leases, or with nil about all.
func (m *member) converge(ctx context.Context, only []follow.Key) {
	var news []ledger.Statement
	was := m.memory.Len()
	done, err := m.host.Share(ctx, m.depthOf(only), func(r *server.Reading) server.Sharing {
		now := m.now()
		a := m.ledger.Converge(now, shared(r.Profiles), ledger.KernelOf(now, r.Sources), only, m.caughtUp)
		if news = a.News; only == nil && full(r) { // what was pushed out would push out others
			a.Give = nil
		}
		return server.Sharing{Give: a.Give, End: a.End}
	})
	if err != nil {
		m.failure("what the fleet has said cannot be done here", err)
		m.requestCheck()
		return
	}
	m.logShared(done)
	now := m.clock().Up
	for _, s := range done.Given {
		m.memory.Put(now, s)
	}
	for _, s := range done.Ended {
		m.memory.Forget(follow.Key{Profile: s.Profile, Holder: s.Address})
	}
	if was != m.memory.Len() {
		m.manager.status("%s", m.summary())
	}
	for _, s := range news {
		if m.ledger.Adopt(s) {
			m.keep(s)
		}
	}
	if len(news) > 0 {
		m.putUnstored()
	}
}

// depthOf is what has to be read for some leases: of one profile and family, if all are.
func (m *member) depthOf(only []follow.Key) (d backend.Depth) {
	for i, k := range only {
		f := protocol.FamilyOf(k.Holder.Addr())
		if i == 0 {
			d.Profile, d.Family = k.Profile, f
		}
		if k.Profile != d.Profile {
			d.Profile = ""
		}
		if f != d.Family {
			d.Family = protocol.Both
		}
	}
	d.Keys = slices.ContainsFunc(m.wanted.Profiles, func(p *protocol.Profile) bool { return p.IsSigned() && (d.Profile == "" || d.Profile == p.Name) })
	return d
}

// full reports whether a table of leases has no room for more. Others are of no matter: anybody can fill
// those of positions.
func full(r *backend.Reading) bool {
	return slices.ContainsFunc(r.Fill, func(f backend.Fill) bool {
		leases := strings.Contains(f.Table, "open") || strings.Contains(f.Table, "given") || strings.HasPrefix(f.Table, "holders")
		return leases && f.NearlyFull()
	})
}

// mostLines is how many leases are logged one by one.
const mostLines = 20

// logShared logs what other nodes have given and ended here.
func (m *member) logShared(done server.Shared) {
	for i, err := range done.LeftOut {
		if i < mostLines {
			m.Log.Debug("fleet: a lease is not given here", "why", err)
		}
	}
	if len(done.PushedOut) > 0 {
		m.Log.Warn("fleet: the kernel's tables are full: leases are forgotten for those of other nodes", "forgotten", len(done.PushedOut))
	}
	if given, ended := len(done.Given), len(done.Ended); given+ended > mostLines {
		m.Log.Info("fleet: leases of other nodes", "given", given, "ended", ended)
		return
	}
	now := m.now()
	for _, s := range done.Given {
		log := m.Log.With("profile", s.Profile, "address", protocol.PrefixText(s.Address))
		if p := protocol.Find(m.wanted.Profiles, s.Profile); p != nil {
			log = log.With("node", m.ledger.Origin(now, p, follow.Key{Profile: s.Profile, Holder: s.Address}))
		}
		log.Info("grant by the fleet", "left", s.Left.Truncate(time.Second))
	}
	for _, s := range done.Ended {
		m.Log.Info("revoke by the fleet", "profile", s.Profile, "address", protocol.PrefixText(s.Address))
	}
}

// checked takes in a check of the kernel, by which some leases have ended early: given back, or by another
// tool.
func (m *member) checked(ctx context.Context, s events.Snapshot, ended []follow.Ended) {
	if !m.installed && !full(s.Reading) {
		for _, e := range ended {
			if !e.InTime && protocol.Find(s.Profiles, e.Profile) != nil {
				m.closed(m.clock().Wall, e.Profile, e.Holder)
			}
		}
	}
	m.installed = false
	if err := m.takeSpooled(ctx); err != nil {
		m.failure("what commands have done while no service ran cannot be told to the fleet", err)
	}
	if m.isApart() {
		return
	}
	now := m.now()
	m.ledger.Forget(now)
	a := m.ledger.Converge(now, shared(s.Profiles), ledger.KernelOf(m.time(s.Began.Wall), s.Sources), nil, m.caughtUp)
	if len(a.Give)+len(a.End)+len(a.News) > 0 {
		m.converge(ctx, nil)
	}
}

// fleetGap is how long a grant may wait until the others are told. They are to open within a tenth of a second.
const fleetGap = 10 * time.Millisecond

// joinFleet makes the host a member of its fleet, and returns the task that exchanges what is said. Without
// the fleet the rules are looked after all the same.
func (k *keeper) joinFleet(ctx context.Context) *task {
	if k.Fleet == nil {
		return nil
	}
	f, err := k.Fleet(k.wanted.Settings)
	if err == nil && f != nil {
		k.member, err = newMember(ctx, k, f)
	}
	if err != nil {
		k.Log.Error("no part of the fleet: this host works alone", "err", err)
	}
	if k.member == nil {
		return nil
	}
	k.batches, k.feed.Gap = f.Batches(), fleetGap
	return newTask("fleet", func(ctx context.Context, ready func()) error {
		ready() // the network may not be there yet
		return f.Run(ctx)
	})
}
