package ledger

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"knockkit/internal/follow"
	"knockkit/internal/kernel/backend"
	"knockkit/protocol"
)

// apart is how far a node's clock is from the true time at most. All events are further from one another, so
// that it is no matter of opinion which is the later one.
const apart = 900 * time.Millisecond

// world is a fleet without packets: some nodes with a ledger and a kernel each, one store, a true time, and
// an ideal host, which all that happens anywhere happens to.
type world struct {
	*rapid.T
	now   time.Time
	nodes []*node
	store map[ID]Statement
	ideal kernel
	given kernel   // the latest end of all that was ever given
	told  []string // what happened, for a failure
}

type node struct {
	name      string
	ahead     time.Duration // its clock
	profiles  []*protocol.Profile
	ledger    *Ledger
	kernel    kernel
	journal   []Statement // its own statements, on its disk
	connected bool
	caughtUp  bool
	dirty     map[ID]bool    // what the store will still deliver
	seen      map[ID]version // what it has delivered
	unnoticed bool           // knocks opened that no report told of
}

// kernel is who has a lease: by profile and holder, then by user ("" a knock, "hand").
type kernel map[follow.Key]map[string]time.Time

func (k kernel) expire(now time.Time) {
	for key, parts := range k {
		maps.DeleteFunc(parts, func(_ string, end time.Time) bool { return !end.IsZero() && !end.After(now) })
		if len(parts) == 0 {
			delete(k, key)
		}
	}
}

func (k kernel) open(key follow.Key, who string, end time.Time) {
	if k[key] == nil {
		k[key] = map[string]time.Time{}
	}
	k[key][who] = end
}

func (k kernel) end(profile string, within netip.Prefix, user string) {
	for key, parts := range k {
		if key.Profile != profile || within.IsValid() && !backend.Inside(key.Holder, []netip.Prefix{within}) {
			continue
		}
		maps.DeleteFunc(parts, func(who string, _ time.Time) bool { return user == "" || who == user })
		if len(parts) == 0 {
			delete(k, key)
		}
	}
}

// until is when the longest part ends; the zero Time: never.
func until(parts map[string]time.Time) (last time.Time) {
	for _, end := range parts {
		if end.IsZero() {
			return end
		}
		if end.After(last) {
			last = end
		}
	}
	return last
}

// sources are the leases as a reading has them: what knocks have given, and what was given by hand.
func (k kernel) sources(now time.Time) (all []backend.Source) {
	for key, parts := range k {
		knocks, byHand := map[string]time.Time{}, map[string]time.Time{}
		for who, end := range parts {
			if who == "hand" {
				byHand[who] = end
			} else {
				knocks[who] = end
			}
		}
		for _, parts := range []map[string]time.Time{knocks, byHand} {
			if len(parts) == 0 {
				continue
			}
			end := until(parts)
			s := backend.Source{Profile: key.Profile, Address: key.Holder, State: backend.Open, Left: end.Sub(now), Unlimited: end.IsZero(), ByHand: !end.IsZero() && parts["hand"].Equal(end)}
			for who, end := range parts {
				if who != "" && who != "hand" {
					s.Users = append(s.Users, backend.User{Name: who, Key: "0123abcd", Left: end.Sub(now), Unlimited: end.IsZero()})
				}
			}
			all = append(all, s)
		}
	}
	return all
}

func ports(text string) []protocol.PortRange {
	n := uint16(len(text))
	return []protocol.PortRange{{Proto: protocol.TCP, First: n, Last: n}}
}

func profiles() []*protocol.Profile {
	p := func(name string, lease time.Duration) *protocol.Profile {
		return &protocol.Profile{Name: name, Lease: lease, Open: ports(name), PrefixIPv4: 32, PrefixIPv6: 128}
	}
	return []*protocol.Profile{p("mysql", 5*time.Minute), p("signed", 10*time.Minute), p("endless", 0)}
}

func newWorld(t *rapid.T) *world {
	w := &world{T: t, now: time.Unix(2_000_000_000, 0), store: map[ID]Statement{}, ideal: kernel{}, given: kernel{}}
	for i := range rapid.IntRange(2, 4).Draw(t, "nodes") {
		n := &node{name: fmt.Sprint("node", i), ahead: time.Duration(rapid.IntRange(-9, 9).Draw(t, "ahead")) * apart / 9, profiles: profiles()}
		w.nodes = append(w.nodes, n)
		n.kernel = kernel{}
		w.start(n)
	}
	return w
}

func (w *world) tell(format string, args ...any) {
	w.told = append(w.told, fmt.Sprintf("%s ", w.now.UTC().Format("04:05.000"))+fmt.Sprintf(format, args...))
}

func (w *world) fail(format string, args ...any) {
	w.Helper()
	w.Fatalf("%s\n%s", fmt.Sprintf(format, args...), strings.Join(w.told, "\n"))
}

func (n *node) time(w *world) time.Time { return w.now.Add(n.ahead) }

// start starts the node's service: its ledger is what its disk has.
func (w *world) start(n *node) {
	n.ledger, n.caughtUp = New(n.name, 1), false
	for _, s := range n.journal {
		n.ledger.Adopt(s)
	}
	n.connected = false
	w.check(n)
}

func (w *world) connect(n *node) {
	n.ledger.Reconnected()
	n.connected, n.caughtUp = true, false
	n.dirty, n.seen = map[ID]bool{}, map[ID]version{}
	for id := range w.store {
		n.dirty[id] = true
	}
}

func (n *node) say(w *world, s Statement) { n.journal = append(n.journal, n.ledger.Say(n.time(w), s)) }

// deliver gives a node some of what the store has for it, in any order.
func (w *world) deliver(n *node, some int) {
	ids := slices.SortedFunc(maps.Keys(n.dirty), func(x, y ID) int { return slices.Compare(x[:], y[:]) })
	var touched []follow.Key
	for range some {
		if len(ids) == 0 {
			break
		}
		i := rapid.IntRange(0, len(ids)-1).Draw(w.T, "which")
		s, ok := w.store[ids[i]]
		delete(n.dirty, ids[i])
		if n.seen[ids[i]] = (version{}); ok {
			n.seen[ids[i]] = versionOf(&s)
			read, err := Decode(s.Encode())
			if err != nil {
				w.fail("%v: %v", s, err)
			}
			if news, _ := n.ledger.Merge(n.time(w), read, 0, n.caughtUp); news {
				touched = append(touched, n.ledger.Touched(&read)...)
			}
		} else {
			n.ledger.Deleted(n.time(w), ids[i], 0)
		}
		ids = slices.Delete(ids, i, i+1)
	}
	if len(touched) > 0 {
		w.apply(n, n.ledger.Converge(n.time(w), n.profiles, KernelOf(n.time(w), n.kernel.sources(w.now)), touched, n.caughtUp))
	}
	if len(ids) == 0 && !n.caughtUp {
		n.caughtUp = true
		w.check(n)
	}
}

// put brings what a node has into the store, unless somebody else has been faster.
func (w *world) put(n *node, some int) {
	for _, s := range n.ledger.Unstored(n.time(w)) {
		if some--; some < 0 {
			return
		}
		id := s.ID()
		is := version{}
		if has, ok := w.store[id]; ok {
			is = versionOf(&has)
		}
		if n.seen[id] != is {
			continue
		}
		w.set(id, &s)
		n.seen[id] = versionOf(&s)
	}
	for _, id := range n.ledger.Endless() {
		if has, ok := w.store[id]; ok && n.seen[id] == versionOf(&has) {
			w.set(id, nil)
		}
	}
}

// set changes the store, which tells who is connected.
func (w *world) set(id ID, s *Statement) {
	if s == nil {
		delete(w.store, id)
	} else {
		w.store[id] = *s
	}
	for _, n := range w.nodes {
		if n.connected {
			n.dirty[id] = true
		}
	}
}

// check compares the node's whole kernel, as the service does now and then.
func (w *world) check(n *node) {
	n.kernel.expire(w.now)
	w.apply(n, n.ledger.Converge(n.time(w), n.profiles, KernelOf(n.time(w), n.kernel.sources(w.now)), nil, n.caughtUp))
	n.ledger.Forget(n.time(w))
	if n.caughtUp {
		n.unnoticed = false
	}
}

func (w *world) apply(n *node, a Actions) {
	for _, s := range a.News {
		if n.ledger.Adopt(s) {
			s.Node = cmp.Or(s.Node, n.name)
			n.journal = append(n.journal, s)
			w.tell("%s finds %v until %v", n.name, &s, s.End.Sub(w.now))
		}
	}
	for _, s := range a.End {
		delete(n.kernel, follow.Key{Profile: s.Profile, Holder: s.Address})
		w.tell("%s ends %s %s", n.name, s.Profile, s.Address)
	}
	for _, s := range a.Give {
		key := follow.Key{Profile: s.Profile, Holder: s.Address}
		delete(n.kernel, key)
		if s.Left < time.Second && !s.Unlimited {
			w.fail("%s gives %v", n.name, s)
		}
		for _, u := range s.Users {
			n.kernel.open(key, u.Name, endOf(w.now, u.Left, u.Unlimited))
		}
		if end := endOf(w.now, s.Left, s.Unlimited); len(s.Users) == 0 || !until(n.kernel[key]).Equal(end) {
			who := "hand"
			if !s.ByHand {
				who = "" // as a backend does
			}
			n.kernel.open(key, who, end)
		}
		if longest := until(w.given[key]); !longest.IsZero() && (s.Unlimited || endOf(w.now, s.Left, false).Sub(longest) > Slack) {
			w.fail("%s gives %s %s for %v, and nobody ever has for more than %v", n.name, s.Profile, s.Address, s.Left, longest.Sub(w.now))
		}
		w.tell("%s gives %s %s for %v", n.name, s.Profile, s.Address, s.Left)
	}
}

// within returns some holder, and something that may be revoked.
func (w *world) holder() netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 9, byte(rapid.IntRange(0, 1).Draw(w.T, "net")), byte(rapid.IntRange(1, 2).Draw(w.T, "host"))}), 32)
}

func (w *world) profile() *protocol.Profile {
	return rapid.SampledFrom(profiles()).Draw(w.T, "profile")
}

// allow remembers the latest end of a lease.
func (w *world) allow(key follow.Key, end time.Time) {
	if parts := w.given[key]; parts == nil || !until(parts).IsZero() && (end.IsZero() || end.After(until(parts))) {
		w.given.open(key, "", end)
	}
}

// one event happens somewhere.
func (w *world) event(n *node) {
	p, holder := w.profile(), w.holder()
	key, end := follow.Key{Profile: p.Name, Holder: holder}, time.Time{}
	if p.Lease > 0 {
		end = w.now.Add(p.Lease)
	}
	switch what := rapid.SampledFrom([]string{"knock", "knock", "knock unnoticed", "by hand", "revoke", "revoke prefix", "revoke all", "revoke user"}).Draw(w.T, "event"); what {
	case "knock", "knock unnoticed":
		s := Statement{Kind: Lease, Profile: p.Name, Holder: holder, Open: p.Open}
		if p.Name == "signed" {
			s.User, s.Key = rapid.SampledFrom([]string{"alice", "bob"}).Draw(w.T, "user"), "0123abcd"
		}
		if end.IsZero() && what == "knock unnoticed" {
			return // when it began nobody will know
		}
		w.tell("%s: %s: %s %s %s", n.name, what, p.Name, s.User, holder)
		n.kernel.open(key, s.User, end)
		w.ideal.open(key, s.User, end)
		w.allow(key, end)
		if what == "knock" {
			if s.End = end; !end.IsZero() {
				s.End = end.Add(n.ahead)
			}
			n.say(w, s)
			return
		}
		n.unnoticed = true
		if n.caughtUp {
			w.check(n)
		}
	case "by hand":
		if end = w.now.Add(time.Duration(rapid.IntRange(1, 60).Draw(w.T, "minutes")) * time.Minute); rapid.IntRange(0, 9).Draw(w.T, "endless") == 0 {
			end = time.Time{}
		}
		w.tell("%s: by hand: %s %s until %v", n.name, p.Name, holder, end.Sub(w.now))
		s := Statement{Kind: Lease, Profile: p.Name, Holder: holder, Open: p.Open, ByHand: true, End: end}
		if !end.IsZero() {
			s.End = end.Add(n.ahead)
		}
		w.allow(key, end)
		for _, k := range []kernel{n.kernel, w.ideal} {
			delete(k, key)
			k.open(key, "hand", end)
		}
		n.say(w, Statement{Kind: Ending, Profile: p.Name, Holder: holder})
		n.say(w, s)
	default:
		s := Statement{Kind: Ending, Profile: p.Name, Holder: holder}
		switch what {
		case "revoke prefix":
			s.Holder = netip.PrefixFrom(holder.Addr(), 24).Masked()
		case "revoke all":
			s.Holder = netip.Prefix{}
		case "revoke user":
			s.Profile, s.Holder, s.User = "signed", netip.Prefix{}, "alice"
		}
		w.tell("%s: %s: %v", n.name, what, &s)
		n.kernel.end(s.Profile, s.Holder, s.User)
		w.ideal.end(s.Profile, s.Holder, s.User)
		n.say(w, s)
	}
}

// step lets time pass, and something happen.
func (w *world) step() {
	w.now = w.now.Add(time.Duration(rapid.IntRange(2*int(apart/time.Millisecond)+200, 40_000).Draw(w.T, "pause")) * time.Millisecond)
	w.ideal.expire(w.now)
	for _, n := range w.nodes {
		n.kernel.expire(w.now)
	}
	n := rapid.SampledFrom(w.nodes).Draw(w.T, "node")
	switch what := rapid.SampledFrom([]string{"event", "event", "event", "exchange", "exchange", "exchange", "check", "connect", "disconnect", "kill", "reboot", "rob the store"}).Draw(w.T, "what"); what {
	case "event":
		w.event(n)
	case "exchange":
		for _, n := range w.nodes {
			if n.connected {
				w.put(n, rapid.IntRange(0, 5).Draw(w.T, "puts"))
			}
		}
		for _, n := range w.nodes {
			if n.connected {
				w.deliver(n, rapid.IntRange(0, 9).Draw(w.T, "deliveries"))
			}
		}
	case "check":
		w.check(n)
	case "connect":
		if !n.connected {
			w.tell("%s is connected", n.name)
			w.connect(n)
		}
	case "disconnect", "kill", "reboot":
		w.tell("%s: %s", n.name, what)
		if n.connected = false; what == "disconnect" {
			return
		}
		if n.unnoticed && what == "reboot" {
			w.tell("%s keeps its kernel: it has leases that nobody knows of", n.name)
		} else if what == "reboot" {
			n.kernel = kernel{}
		}
		w.start(n)
	case "rob the store":
		if len(w.store) > 0 {
			ids := slices.SortedFunc(maps.Keys(w.store), func(x, y ID) int { return slices.Compare(x[:], y[:]) })
			w.set(rapid.SampledFrom(ids).Draw(w.T, "robbed"), nil)
		}
	}
}

// heal connects all, until nobody has anything to say.
func (w *world) heal() {
	w.tell("all are connected")
	for _, n := range w.nodes {
		if !n.connected {
			w.connect(n)
		}
	}
	for range 6 {
		for _, n := range w.nodes {
			w.deliver(n, len(w.store)+1)
			w.check(n)
			w.put(n, 1<<20)
		}
	}
	for _, n := range w.nodes {
		w.deliver(n, len(w.store)+1)
		w.check(n)
		if more := n.ledger.Unstored(n.time(w)); len(more) > 0 {
			w.fail("%s still has to tell %v", n.name, more)
		}
	}
}

// compare compares each kernel with the ideal one.
func (w *world) compare() {
	const allowed = tolerance + 2*apart
	for _, n := range w.nodes {
		n.kernel.expire(w.now)
		keys := map[follow.Key]bool{}
		for k := range n.kernel {
			keys[k] = true
		}
		for k := range w.ideal {
			keys[k] = true
		}
		for k := range keys {
			is, has := n.kernel[k]
			should, shall := w.ideal[k]
			end, want := until(is), until(should)
			soon := func(end time.Time) bool { return !end.IsZero() && end.Sub(w.now) <= allowed }
			switch {
			case has && shall:
				if !near(end, want, allowed) {
					w.fail("%s: %s %s ends in %v, not %v", n.name, k.Profile, k.Holder, end.Sub(w.now), want.Sub(w.now))
				}
			case has && !soon(end):
				w.fail("%s: %s %s is open for %v, and must not be", n.name, k.Profile, k.Holder, end.Sub(w.now))
			case shall && !soon(want):
				w.fail("%s: %s %s is shut, and must be open for %v", n.name, k.Profile, k.Holder, want.Sub(w.now))
			}
		}
	}
}

func TestAfterAnyHistoryAllNodesHaveWhatTheLaterStatementsSay(t *testing.T) {
	t.Parallel()
	for range 20 { // a hundred each
		rapid.Check(t, func(t *rapid.T) {
			w := newWorld(t)
			for range rapid.IntRange(1, 60).Draw(t, "steps") {
				w.step()
			}
			w.heal()
			w.compare()
		})
	}
}
