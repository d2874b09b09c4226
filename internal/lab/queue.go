package lab

import (
	"container/heap"
	"sync"
	"time"
)

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
