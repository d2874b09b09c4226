package events

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"knockkit/internal/kernel/backend"
)

// Snapshot is a reading of the kernel, and when it began.
type Snapshot struct {
	Began Moment
	*backend.Reading
}

// ReadFunc reads what is installed and who holds what.
type ReadFunc func(ctx context.Context) (Snapshot, error)

// Feed publishes the notices of this network namespace on its hub: as the listener of the NFLOG
// group, which serves all others, or as one of those others. When the listener goes away, one of
// them takes its place.
type Feed struct {
	Hub   *hub
	Read  ReadFunc
	Clock Clock
	Every time.Duration // how often to read the kernel without a reason; 0: never
	Gap   time.Duration // how long a report may wait for others, so that all are one batch; 0: a tenth of a second

	// OnRole is called with what the feed is: a listener, a reader, or waiting, and why. It is
	// called from the goroutine of Run, and may be nil.
	OnRole func(Role, error)

	refresh chan struct{}
	offered chan Snapshot
	last    Role
}

// Role is what a [Feed] is at the moment.
type Role string

// The roles.
const (
	Listener Role = "listens to the kernel"
	Reader   Role = "reads from another knockd"
	Waiting  Role = "waits for its turn" // the error says for which process
)

// NewFeed returns a feed with a hub of its own. Its readings begin at moments of the clock.
func NewFeed(clock Clock, read ReadFunc) *Feed {
	return &Feed{Hub: newHub(), Read: read, Clock: clock, refresh: make(chan struct{}, 1), offered: make(chan Snapshot, 1)}
}

// Refresh says that other profiles are installed now.
func (f *Feed) Refresh() {
	select {
	case f.refresh <- struct{}{}:
	default: // it is requested already
	}
}

// Offer gives the feed a reading of the kernel, so that it need not read itself.
func (f *Feed) Offer(s Snapshot) {
	select {
	case f.offered <- s:
	default: // another one is waiting
	}
}

// retry is how soon the group is tried again, when another process has it and does not serve.
const retry = 500 * time.Millisecond

// A process that ends has the group for a moment after its last word: so long it may take, and so
// soon the group is tried again meanwhile.
const (
	handover      = time.Second
	handoverRetry = 20 * time.Millisecond
)

// Run publishes notices until the context ends. It gives up only when listening is forbidden:
// [backend.ErrPrivilege].
func (f *Feed) Run(ctx context.Context) error {
	defer f.Hub.Close()
	var taken time.Time // since when another process has the group and serves nothing; zero: it serves, or there is none
	for ctx.Err() == nil {
		group, err := OpenGroup(backend.LogGroup)
		switch {
		case err == nil:
			taken = time.Time{}
			f.setRole(Listener, nil)
			err = f.listen(ctx, group)
		case errors.Is(err, errTaken):
			if taken.IsZero() {
				taken = time.Now()
			}
			var c *client
			if c, err = connect(ctx); err == nil {
				taken = time.Time{}
				f.setRole(Reader, nil)
				err = f.read(ctx, c)
			} else {
				err = fmt.Errorf("%w: %w", errTaken, err)
			}
		case errors.Is(err, backend.ErrPrivilege):
			return err
		}
		if err == nil { // the other process is gone: take its place at once
			continue
		}
		pause := retry
		if !taken.IsZero() && time.Since(taken) < handover {
			pause = handoverRetry
		} else if ctx.Err() == nil {
			f.setRole(Waiting, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
	return nil
}

// setRole calls OnRole with what the feed is; while it waits, once only.
func (f *Feed) setRole(r Role, err error) {
	if f.OnRole != nil && (r != f.last || r != Waiting) {
		f.OnRole(r, err)
	}
	f.last = r
}

// read publishes the notices that another process serves, until that one ends.
func (f *Feed) read(ctx context.Context, c *client) error {
	stop := context.AfterFunc(ctx, func() { c.conn.Close() })
	defer stop()
	defer c.conn.Close()
	for {
		i, err := c.next()
		if err != nil {
			return nil
		}
		f.Hub.Publish(i)
	}
}

// queueLength is how many items wait for a watcher that is slow.
const queueLength = 1024

// hub hands every item to every watcher. A watcher that does not keep up loses items, and gets their
// number; nobody waits for it.
type hub struct {
	mu       sync.Mutex
	watchers map[*watcher]bool
	closed   bool
}

// watcher is one reader of a [hub].
type watcher struct {
	C <-chan Item // closed with the hub

	hub    *hub
	c      chan Item
	scopes bool // acts of the kind Scope too
	lost   uint64
}

// newHub returns a hub that nobody watches.
func newHub() *hub { return &hub{watchers: map[*watcher]bool{}} }

// Watch returns a watcher of all that people are told from now on. The caller stops it.
func (h *hub) Watch() *watcher { return h.watch(false) }

// WatchAll returns a watcher of everything, a [Scope] too.
func (h *hub) WatchAll() *watcher { return h.watch(true) }

func (h *hub) watch(scopes bool) *watcher {
	w := &watcher{hub: h, c: make(chan Item, queueLength), scopes: scopes}
	w.C = w.c
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		close(w.c)
		return w
	}
	h.watchers[w] = true
	return w
}

// Stop ends the watcher: C is closed.
func (w *watcher) Stop() {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	if w.hub.watchers[w] {
		delete(w.hub.watchers, w)
		close(w.c)
	}
}

// Publish hands items to all watchers. It never waits.
func (h *hub) Publish(items ...Item) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.watchers {
		for _, i := range items {
			w.offer(i)
		}
	}
}

// offer queues an item, after the number of those that were lost before it.
func (w *watcher) offer(i Item) {
	if i.Notice.Kind == Scope && !w.scopes {
		return
	}
	// Room for two: the number, and the item.
	if w.lost > 0 && len(w.c)+2 <= cap(w.c) {
		w.c <- Item{Lost: w.lost, Where: "this reader is too slow"}
		w.lost = 0
	}
	if w.lost > 0 {
		w.lost++
		return
	}
	select {
	case w.c <- i:
	default:
		w.lost++
	}
}

// Close ends all watchers.
func (h *hub) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for w := range h.watchers {
		delete(h.watchers, w)
		close(w.c)
	}
}
