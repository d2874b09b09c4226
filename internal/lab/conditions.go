package lab

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// Conditions are what one direction of a [Link] does to packets. The zero value
// does nothing to them.
type Conditions struct {
	Delay  time.Duration // each way: a round trip takes twice this
	Jitter time.Duration // the delay varies evenly by up to this much, both ways

	// Shares of the packets, 0 to 1.
	Loss      float64 // gone
	Duplicate float64 // delivered twice in a row
	Reorder   float64 // not delayed at all, and so ahead of those under way (as in netem)

	// Seed decides which packets are hit: the same seed and the same number of
	// packets before, the same fate. The two directions of a link differ.
	Seed uint64
}

func (c Conditions) check() error {
	for _, p := range []float64{c.Loss, c.Duplicate, c.Reorder} {
		if !(p >= 0 && p <= 1) {
			return fmt.Errorf("conditions: share %v is not between 0 and 1", p)
		}
	}
	if c.Delay < 0 || c.Jitter < 0 {
		return fmt.Errorf("conditions: negative delay %v or jitter %v", c.Delay, c.Jitter)
	}
	return nil
}

// course applies conditions to the packets of one direction, one after the other.
type course struct {
	conditions Conditions
	random     *rand.Rand
	last       time.Time // when the latest packet that keeps its place arrives
}

// set changes the conditions from the next packet on. direction makes the two ways
// of a link differ under one seed.
func (c *course) set(conditions Conditions, direction uint64) {
	c.conditions = conditions
	c.random = rand.New(rand.NewPCG(conditions.Seed, direction))
}

// next says when the copies of a packet sent now arrive: none, one or two times.
// Packets keep their order unless reordering was asked for.
func (c *course) next(now time.Time) []time.Time {
	// Four draws for every packet, whatever comes of them: so a packet's fate does
	// not depend on that of those before it.
	lost, doubled := c.random.Float64(), c.random.Float64()
	early, shift := c.random.Float64(), c.random.Float64()
	if lost < c.conditions.Loss {
		return nil
	}
	at := now
	if !(early < c.conditions.Reorder) {
		delay := c.conditions.Delay + time.Duration((2*shift-1)*float64(c.conditions.Jitter))
		at = now.Add(max(0, delay))
		if at.Before(c.last) {
			at = c.last
		}
		c.last = at
	}
	if doubled < c.conditions.Duplicate {
		return []time.Time{at, at}
	}
	return []time.Time{at}
}

// queue holds packets until their time and hands them over one by one: earliest
// first, those of one time in the order in which they were put in.
type queue struct {
	deliver func([]byte)

	mu      sync.Mutex
	packets due
	count   uint64
	changed chan struct{} // something earlier may have come: holds one token
}

func newQueue(deliver func([]byte)) *queue {
	return &queue{deliver: deliver, changed: make(chan struct{}, 1)}
}

// put adds a packet that is delivered at a time.
func (q *queue) put(at time.Time, packet []byte) {
	q.mu.Lock()
	heap.Push(&q.packets, delayed{at, q.count, packet})
	q.count++
	q.mu.Unlock()
	select {
	case q.changed <- struct{}{}:
	default: // a token is waiting already
	}
}

// run delivers until done is closed. It alone calls deliver.
func (q *queue) run(done <-chan struct{}) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		packet, wait, some := q.take(time.Now())
		var expired <-chan time.Time
		switch {
		case some && wait <= 0:
			q.deliver(packet)
			continue
		case some:
			timer.Reset(wait)
			expired = timer.C
		}
		select {
		case <-done:
			return
		case <-q.changed:
		case <-expired:
		}
	}
}

// take removes the first packet if it is due; else it says how long until it is.
func (q *queue) take(now time.Time) (packet []byte, wait time.Duration, some bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.packets) == 0 {
		return nil, 0, false
	}
	if wait := q.packets[0].at.Sub(now); wait > 0 {
		return nil, wait, true
	}
	return heap.Pop(&q.packets).(delayed).packet, 0, true
}

type delayed struct {
	at     time.Time
	number uint64 // keeps the order of packets due at one time
	packet []byte
}

// due is a heap.
type due []delayed

func (d due) Len() int { return len(d) }

func (d due) Less(i, j int) bool {
	if !d[i].at.Equal(d[j].at) {
		return d[i].at.Before(d[j].at)
	}
	return d[i].number < d[j].number
}

func (d due) Swap(i, j int) { d[i], d[j] = d[j], d[i] }

func (d *due) Push(x any) { *d = append(*d, x.(delayed)) }

func (d *due) Pop() any {
	last := len(*d) - 1
	x := (*d)[last]
	(*d)[last] = delayed{} // lets the packet's memory go
	*d = (*d)[:last]
	return x
}
