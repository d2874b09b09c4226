package service

import (
	"context"
	"sync"
	"time"

	"knockkit/internal/kernel/backend"
	"knockkit/server/events"
)

// pageFresh is how old a reading for the metrics may be: one serves all visits for a while.
const pageFresh = 2 * time.Second

// reader reads the kernel for all tasks of the service: one reading at a time, which all get that
// ask meanwhile. Readings are shared, and nobody changes them.
type reader struct {
	clock events.Clock

	mu        sync.Mutex // locked while the kernel is read
	host      Host
	last      events.Snapshot // Reading is nil before the first, and after an error
	err       error
	positions bool // last counts the sources in a position
}

// use makes a server the one that reads, from the next reading on.
func (r *reader) use(h Host) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.host, r.last, r.err = h, events.Snapshot{}, nil
}

// fresh returns a reading that began after the call.
func (r *reader) fresh(ctx context.Context) (events.Snapshot, error) {
	return r.since(ctx, r.clock().Up+1, false)
}

// recent returns a reading that is at most [pageFresh] old, for the metrics.
func (r *reader) recent(ctx context.Context) (*backend.Reading, error) {
	s, err := r.since(ctx, r.clock().Up-pageFresh, true)
	return s.Reading, err
}

// since returns the last reading if it began at that time or later, else a new one.
func (r *reader) since(ctx context.Context, up time.Duration, positions bool) (events.Snapshot, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if (r.last.Reading != nil || r.err != nil) && r.last.Began.Up >= up && (r.positions || !positions) {
		return r.last, r.err
	}
	defer freeMemory()
	r.last, r.positions = events.Snapshot{Began: r.clock()}, positions
	list := 0
	if positions {
		list = 1 // with one listed, all are counted
	}
	r.last.Reading, r.err = r.host.Read(ctx, list)
	snapshot, err := r.last, r.err
	if err != nil && ctx.Err() != nil { // the error is the caller's alone
		r.last, r.err = events.Snapshot{}, nil
	}
	return snapshot, err
}
