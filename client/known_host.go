package client

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"knockkit/protocol"
)

// knownHost is a [Dialer]'s state for one host: the leases that it takes for valid, and the knock
// under way.
type knownHost struct {
	target Target
	wire   wire           // nil: the network of this machine
	told   func(Knocking) // nil: nobody is told
	turn   *turn

	mu      sync.Mutex
	leases  []lease       // one of a family at most, the best first
	changed chan struct{} // closed when leases are others
	joint   *joint        // nil: none under way
	count   int
	last    netip.Addr // the last connection went there
}

// lease is what a knock opened on one address, as far as this side can know.
type lease struct {
	number  int // of the knock, from 1
	addr    netip.Addr
	checked bool // a connection was accepted
	until   time.Time
	rtt     time.Duration
}

// want says which leases will do. The zero value is any.
type want struct {
	family protocol.Family
	addr   netip.Addr // of a lease that is to be renewed; the zero Addr for any
	after  int        // newer than that of this number
}

// takes reports whether a lease of the address would do.
func (w want) takes(family protocol.Family, addr netip.Addr) bool {
	return (w.family == protocol.Both || w.family == family) && (!w.addr.IsValid() || w.addr == addr)
}

// of returns those of the leases that are wanted.
func (w want) of(all []lease) (ls []lease) {
	for _, l := range all {
		if l.number > w.after && w.takes(l.family(), l.addr) {
			ls = append(ls, l)
		}
	}
	return ls
}

// joint is a knock that several dials wait for.
type joint struct {
	want    want
	cancel  context.CancelFunc
	waiting int
	done    chan struct{} // closed when leases or err are there
	leases  []lease
	err     error
}

// need returns the leases that are wanted, at least one, and knocks if there is none. fresh says
// that they were obtained during this call, or after the one that was tried.
//
// While a sequence is on its way, a living lease waits too: in strict mode the
// SYN of its connection would be an event in the middle of the sequence.
func (g *knownHost) need(ctx context.Context, w want) (ls []lease, fresh bool, err error) {
	for {
		g.mu.Lock()
		if ls := g.living(w); g.joint == nil && len(ls) > 0 {
			defer g.mu.Unlock()
			return ls, w.after > 0, nil
		}
		j := g.joint
		if j == nil {
			// The knock has the values of the first dial's context, and not its end.
			joined, cancel := context.WithCancel(context.WithoutCancel(ctx))
			j = &joint{want: w, cancel: cancel, done: make(chan struct{})}
			g.joint = j
			go g.run(joined, j, g.why(w))
		}
		j.waiting++
		g.mu.Unlock()
		select {
		case <-j.done:
		case <-ctx.Done():
			return nil, false, g.abandon(ctx, j)
		}
		if ls := w.of(j.leases); len(ls) > 0 {
			return ls, true, nil
		}
		if j.err == nil || !j.want.takes(w.family, w.addr) {
			continue // it was a knock for another family, or on another address
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		if ls := g.living(w); len(ls) > 0 { // a renewal failed; the lease still lives
			return ls, false, nil
		}
		return nil, false, j.err
	}
}

// living returns the leases that are wanted and have not ended.
func (g *knownHost) living(w want) []lease {
	now := time.Now()
	return slices.DeleteFunc(w.of(g.leases), func(l lease) bool { return !l.live(now) })
}

// abandon takes a dial from those that wait for the knock. The last one ends the knock, and waits
// for that: nothing of it outlives the dial. The error is that of ctx, with what was not done.
func (g *knownHost) abandon(ctx context.Context, j *joint) error {
	g.mu.Lock()
	j.waiting--
	last := j.waiting == 0
	if last {
		j.cancel()
		if g.joint == j {
			g.joint = nil
		}
	}
	g.mu.Unlock()
	if !last {
		return ctx.Err()
	}
	<-j.done
	if late := new(UnfinishedError); errors.As(j.err, &late) {
		return &UnfinishedError{late.Text, late.Checked, ctx.Err()}
	}
	return ctx.Err()
}

func (g *knownHost) run(ctx context.Context, j *joint, why Why) {
	defer close(j.done)
	defer j.cancel()
	_, j.err = g.alone(ctx, func() (net.Conn, error) {
		var err error
		j.leases, err = g.obtain(ctx, j.want, why)
		return nil, err
	})
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.joint == j {
		g.joint = nil
	}
	if j.err == nil {
		others := slices.DeleteFunc(g.leases, func(l lease) bool { return j.want.takes(l.family(), l.addr) })
		g.leases = slices.Concat(others, j.leases)
		close(g.changed)
		g.changed = make(chan struct{})
	}
}

// alone calls f while no other sequence goes to the host, and no connection.
func (g *knownHost) alone(ctx context.Context, f func() (net.Conn, error)) (net.Conn, error) {
	if err := g.turn.Acquire(ctx, all); err != nil {
		return nil, err
	}
	defer g.turn.Release(all)
	return f()
}

// beside calls f while no sequence goes to the host.
func (g *knownHost) beside(ctx context.Context, f func() (net.Conn, error)) (net.Conn, error) {
	if err := g.turn.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	var once sync.Once
	done := func() { once.Do(func() { g.turn.Release(1) }) }
	defer done()
	// A connection to a dead port lasts minutes. What the kernel sends again later than that
	// may come in the middle of a sequence, which is then sent again too.
	defer time.AfterFunc(time.Second, done).Stop()
	return f()
}

// why returns why a knock is needed; g.mu is held.
func (g *knownHost) why(w want) Why {
	now := time.Now()
	switch {
	case g.count == 0:
		return NoLease
	case w.addr.IsValid():
		return Renewal
	case slices.ContainsFunc(g.leases, func(l lease) bool { return l.live(now) }):
		return LeaseLost
	}
	return LeaseOver
}

// obtain knocks.
func (g *knownHost) obtain(ctx context.Context, w want, why Why) ([]lease, error) {
	if g.told != nil {
		g.told(Knocking{Target: g.target, Why: why})
	}
	t := g.target
	t.first = true
	if w.family != protocol.Both {
		t.Family = w.family
	}
	if w.addr.IsValid() {
		t.addrs = []netip.Addr{w.addr}
	}
	start := time.Now() // the server's lease cannot have begun before
	r, err := knockOn(ctx, t, g.wire)
	if g.told != nil {
		g.told(Knocking{g.target, why, true, r, err})
	}
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.count++
	var ls []lease
	for _, a := range r.usable() {
		ls = append(ls, lease{number: g.count, addr: a.Addr, checked: a.Outcome == Open, until: g.end(start), rtt: a.roundTrip()})
	}
	return ls, nil
}

// used notes that a connection was made under a lease. It renews the lease where the profile does
// so. The other address of the same knock is given up: this one was there first.
func (g *knownHost) used(l lease) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.last = l.addr
	i := slices.IndexFunc(g.leases, func(o lease) bool { return o.number == l.number && o.addr == l.addr })
	if i < 0 {
		return // it was renewed or given up meanwhile
	}
	if g.target.Profile.Renew {
		g.leases[i].until = g.end(time.Now())
	}
	g.leases = slices.DeleteFunc(g.leases, func(o lease) bool { return o.number == l.number && o.addr != l.addr })
}

// usedFirst sorts leases: that of the address of the last connection is first.
func (g *knownHost) usedFirst(ls []lease) {
	g.mu.Lock()
	defer g.mu.Unlock()
	slices.SortStableFunc(ls, func(a, b lease) int {
		switch g.last {
		case a.addr:
			return -1
		case b.addr:
			return 1
		}
		return 0
	})
}

// due returns the leases that should be renewed, sends on next when the first of the others should
// be (nil: none has an end), and closes changed when the leases are others.
func (g *knownHost) due() (ls []lease, next <-chan time.Time, changed <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	var first time.Time
	for _, l := range g.leases {
		switch {
		case !l.live(now):
			ls = append(ls, l)
		case !l.until.IsZero() && (first.IsZero() || l.until.Before(first)):
			first = l.until
		}
	}
	if !first.IsZero() {
		next = time.After(first.Sub(now))
	}
	return ls, next, g.changed
}

// end returns until when a lease that began then is believed in: a tenth less
// than it lasts, at most 10 s less. The zero time is no end.
func (g *knownHost) end(start time.Time) time.Time {
	d := g.target.Profile.Lease
	if d == 0 {
		return time.Time{}
	}
	return start.Add(d - min(d/10, 10*time.Second))
}

func (l lease) live(now time.Time) bool { return l.until.IsZero() || now.Before(l.until) }

func (l lease) family() protocol.Family { return protocol.FamilyOf(l.addr) }

// usable returns the addresses that opened, the fastest first; where none could
// be checked, those that were knocked on.
func (r Result) usable() []AddrResult {
	good := slices.DeleteFunc(slices.Clone(r.Addrs), func(a AddrResult) bool { return a.Outcome != r.Outcome() })
	slices.SortStableFunc(good, func(a, b AddrResult) int { return int(a.Took - b.Took) })
	return good
}

// roundTrip returns the shortest time to an answer, 0 without one.
func (a AddrResult) roundTrip() time.Duration {
	var shortest time.Duration
	for _, p := range a.Packets {
		if p.After > 0 && (shortest == 0 || p.After < shortest) {
			shortest = p.After
		}
	}
	return shortest
}
