//go:build linux

package lab

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// Link joins two hosts by a pair of TUN devices between which this process carries
// the packets. Its methods may be called by several goroutines at once.
type Link struct {
	ways    [2]*way // ways[0] leads to the second host
	done    chan struct{}
	running sync.WaitGroup
	close   sync.Once

	mu   sync.Mutex // guards what follows, and the courses
	taps []*Tap
	drop func(from *Host, packet []byte) bool
}

// way is one direction of a link.
type way struct {
	from, to *tun
	course   course
	queue    *queue
}

// Connect joins two hosts by a link with the same conditions both ways. Where
// nothing was linked before, a gets 198.51.100.1 and 2001:db8::1, b the same ending
// in 2. The caller closes the link.
func Connect(a, b *Host, c Conditions) (*Link, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	n, err := nextSubnet(a, b)
	if err != nil {
		return nil, err
	}
	ta, err := openTUN(a, n, 1)
	if err != nil {
		return nil, err
	}
	tb, err := openTUN(b, n, 2)
	if err != nil {
		ta.file.Close()
		return nil, err
	}
	l := &Link{ways: [2]*way{newWay(ta, tb), newWay(tb, ta)}, done: make(chan struct{})}
	for i, w := range l.ways {
		w.course.set(c, uint64(i))
		l.running.Go(func() { w.queue.run(l.done) })
		l.running.Go(func() { l.carry(w) })
	}
	return l, nil
}

func newWay(from, to *tun) *way {
	// A packet that the host does not take (its device is down) is lost, as on a
	// cable that nobody is at.
	return &way{from: from, to: to, queue: newQueue(func(p []byte) { _ = to.write(p) })}
}

// carry takes what a host sends until the device is closed.
func (l *Link) carry(w *way) {
	for {
		packet, err := w.from.read()
		switch {
		case errors.Is(err, os.ErrClosed):
			return
		case err != nil:
			select { // a device that is down reports errors until it is up again
			case <-l.done:
				return
			case <-time.After(5 * time.Millisecond):
			}
			continue
		}
		for _, at := range l.judge(w, packet) {
			w.queue.put(at, packet)
		}
	}
}

// judge shows a packet to the taps and says when its copies arrive.
func (l *Link) judge(w *way, packet []byte) []time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	for _, t := range l.taps {
		t.show(Sent{From: w.from.host, At: now, Packet: packet})
	}
	if l.drop != nil && l.drop(w.from.host, packet) {
		return nil
	}
	return w.course.next(now)
}

// SetConditions changes both directions from the next packet on and starts their
// random choices again from the seed. Packets under way keep their time.
func (l *Link) SetConditions(c Conditions) error {
	if err := c.check(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, w := range l.ways {
		w.course.set(c, uint64(i))
	}
	return nil
}

// SetToward changes only the direction that leads to a host.
func (l *Link) SetToward(to *Host, c Conditions) error {
	if err := c.check(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, w := range l.ways {
		if w.to.host == to {
			w.course.set(c, uint64(i))
			return nil
		}
	}
	return fmt.Errorf("host %s is not on this link", to.Name)
}

// Drop makes the link lose the packets for which f is true, beside what the
// conditions lose; nil drops none. f must not use the link, and must not keep or
// change the packet.
func (l *Link) Drop(f func(from *Host, packet []byte) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop = f
}

// Tap begins to show what the hosts send. size is how many packets may wait to be
// read; further ones are counted, not shown.
func (l *Link) Tap(size int) *Tap {
	c := make(chan Sent, size)
	t := &Tap{C: c, c: c}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.taps = append(l.taps, t)
	return t
}

// Inject lets an IP packet come in on a host as if it had come over the link, at
// once, whatever the conditions. When it returns, the packet has passed the host's
// rules.
func (l *Link) Inject(to *Host, packet []byte) error {
	for _, w := range l.ways {
		if w.to.host == to {
			return w.to.write(packet)
		}
	}
	return fmt.Errorf("host %s is not on this link", to.Name)
}

// Close removes the devices from the hosts; packets under way are lost. It may be
// called twice.
func (l *Link) Close() error {
	var err error
	l.close.Do(func() {
		close(l.done)
		err = errors.Join(l.ways[0].from.file.Close(), l.ways[1].from.file.Close())
		l.running.Wait()
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, t := range l.taps {
			t.Close()
		}
	})
	return err
}
