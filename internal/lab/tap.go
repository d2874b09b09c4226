//go:build linux

package lab

import (
	"sync"
	"sync/atomic"
	"time"
)

// Tap shows every packet that the two hosts of a [Link] send, before the link
// drops, loses or delays it. Injected packets are not shown: no host sent them.
type Tap struct {
	// C has the packets in the order of each host. It is closed with the tap.
	C <-chan Sent

	mu     sync.Mutex
	c      chan Sent
	closed bool
	missed atomic.Uint64
}

// Sent is a packet that a host sent. Packet is shared: do not change it.
type Sent struct {
	From   *Host
	At     time.Time
	Packet []byte
}

// Missed returns how many packets the tap did not show because nobody read C.
func (t *Tap) Missed() uint64 { return t.missed.Load() }

// Close ends the tap and closes C. It may be called twice.
func (t *Tap) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closed {
		t.closed = true
		close(t.c)
	}
}

// show never waits: the link must not slow down when a tap's reader does.
func (t *Tap) show(s Sent) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	select {
	case t.c <- s:
	default:
		t.missed.Add(1)
	}
}
