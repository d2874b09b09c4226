package client

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// knownHost is a [Dialer]'s state for one host: the lease that it takes for valid, and the knock
// under way.
type knownHost struct {
	target Target
	wire   wire
	told   func(Knocking) // nil: nobody is told
	turn   *turn

	mu      sync.Mutex
	lease   lease
	changed chan struct{} // closed when lease is another
	joint   *joint        // nil: none under way
	count   int
}

// lease is the result of a knock, as far as this side can know. The zero value is none.
type lease struct {
	number  int // from 1; tells leases of a host apart
	addrs   []netip.Addr
	checked bool // a connection was accepted
	until   time.Time
	rtt     time.Duration
}

// joint is a knock that several dials wait for.
type joint struct {
	cancel  context.CancelFunc
	waiting int
	done    chan struct{} // closed when lease and err are there
	lease   lease
	err     error
}

// need returns a lease newer than the one of the number tried, and knocks for
// it if there is none. fresh says that it was obtained during this call, or
// after the one that was tried. renewal says that no dial has failed.
//
// While a sequence is on its way, a living lease waits too: in strict mode the
// SYN of its connection would be an event in the middle of the sequence.
func (g *knownHost) need(ctx context.Context, tried int, renewal bool) (l lease, fresh bool, err error) {
	g.mu.Lock()
	if g.joint == nil && g.lease.number > tried && g.lease.live(time.Now()) {
		defer g.mu.Unlock()
		return g.lease, tried > 0, nil
	}
	j := g.joint
	if j == nil {
		// The knock has the values of the first dial's context, and not its end.
		joined, cancel := context.WithCancel(context.WithoutCancel(ctx))
		j = &joint{cancel: cancel, done: make(chan struct{})}
		g.joint = j
		go g.run(joined, j, g.why(renewal))
	}
	j.waiting++
	g.mu.Unlock()
	select {
	case <-j.done:
	case <-ctx.Done():
		g.abandon(j)
		return lease{}, false, ctx.Err()
	}
	if j.err == nil {
		return j.lease, true, nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.lease.number > tried && g.lease.live(time.Now()) { // a renewal failed; the lease still lives
		return g.lease, false, nil
	}
	return lease{}, false, j.err
}

// abandon takes a dial from those that wait for the knock. The last one ends the knock, and waits
// for that: nothing of it outlives the dial.
func (g *knownHost) abandon(j *joint) {
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
	if last {
		<-j.done
	}
}

func (g *knownHost) run(ctx context.Context, j *joint, why Why) {
	defer close(j.done)
	defer j.cancel()
	_, j.err = g.alone(ctx, func() (net.Conn, error) {
		var err error
		j.lease, err = g.obtain(ctx, why)
		return nil, err
	})
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.joint == j {
		g.joint = nil
	}
	if j.err == nil {
		g.lease = j.lease
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
func (g *knownHost) why(renewal bool) Why {
	switch {
	case g.lease.number == 0:
		return NoLease
	case renewal:
		return Renewal
	case g.lease.live(time.Now()):
		return LeaseLost
	}
	return LeaseOver
}

// obtain knocks.
func (g *knownHost) obtain(ctx context.Context, why Why) (lease, error) {
	if g.told != nil {
		g.told(Knocking{Target: g.target, Why: why})
	}
	start := time.Now() // the server's lease cannot have begun before
	r, err := knockOn(ctx, g.target, g.wire)
	if g.told != nil {
		g.told(Knocking{g.target, why, true, r, err})
	}
	if err != nil {
		return lease{}, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.count++
	return lease{
		number: g.count, addrs: r.usable(), checked: r.Outcome() == Open,
		until: g.end(start), rtt: r.roundTrip(),
	}, nil
}

// used renews the lease for a connection that was made under it, where the profile does so.
func (g *knownHost) used(l lease) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.target.Profile.Renew && g.lease.number == l.number {
		g.lease.until = g.end(time.Now())
	}
}

// current returns the lease, and a channel that is closed when it is another.
func (g *knownHost) current() (lease, <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.lease, g.changed
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

func (l lease) live(now time.Time) bool {
	return l.number > 0 && (l.until.IsZero() || now.Before(l.until))
}

// endless reports whether there is nothing to renew: no lease, or one without end.
func (l lease) endless() bool { return l.until.IsZero() }

// due sends when the lease should be renewed.
func (l lease) due() <-chan time.Time { return time.After(time.Until(l.until)) }

// usable returns the addresses that opened, the fastest first; where none could
// be checked, those that were knocked on.
func (r Result) usable() []netip.Addr {
	good := slices.DeleteFunc(slices.Clone(r.Addrs), func(a AddrResult) bool { return a.Outcome != r.Outcome() })
	slices.SortStableFunc(good, func(a, b AddrResult) int { return int(a.Took - b.Took) })
	var addrs []netip.Addr
	for _, a := range good {
		addrs = append(addrs, a.Addr)
	}
	return addrs
}

// roundTrip returns the longest of the addresses' shortest answers, 0 when one
// that is usable answered nothing.
func (r Result) roundTrip() time.Duration {
	var longest time.Duration
	for _, a := range r.Addrs {
		var shortest time.Duration
		for _, p := range a.Packets {
			if p.After > 0 && (shortest == 0 || p.After < shortest) {
				shortest = p.After
			}
		}
		if a.Outcome == r.Outcome() && shortest == 0 {
			return 0
		}
		longest = max(longest, shortest)
	}
	return longest
}
