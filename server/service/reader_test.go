package service

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"knockkit/internal/kernel/backend"
	"knockkit/internal/lab/labtest"
	"knockkit/server/events"
)

// slow is a host whose looks end when the test says so.
type slow struct {
	Host
	begun, end     chan struct{}
	looks, visited int
	err            error
}

func (s *slow) Read(_ context.Context, positions int) (*backend.Reading, error) {
	if positions > 0 { // for the page
		s.visited++
		return &backend.Reading{}, s.err
	}
	s.looks++
	s.begun <- struct{}{}
	<-s.end
	return &backend.Reading{}, s.err
}

// TestAReadServesAllWhoAskedBeforeItBeganAndNobodyWhoAskedLater counts by the clock who has
// asked: it is read once for that.
func TestAReadServesAllWhoAskedBeforeItBeganAndNobodyWhoAskedLater(t *testing.T) {
	var ticks atomic.Int64
	h := &slow{begun: make(chan struct{}, 1), end: make(chan struct{})}
	r := &reader{host: h, clock: func() events.Moment { return at(time.Duration(ticks.Add(1))) }}
	var asking sync.WaitGroup
	began := make([]time.Duration, 6)
	ask := func(i int) {
		asking.Go(func() {
			snapshot, err := r.fresh(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			began[i] = snapshot.Began.Up
		})
	}
	ask(0)
	<-h.begun
	was := ticks.Load()
	for i := range began[1:] {
		ask(i + 1)
	}
	labtest.Eventually(t, 5*time.Second, func() error {
		if ticks.Load() < was+int64(len(began)-1) {
			return errors.New("not all have asked")
		}
		return nil
	})
	h.end <- struct{}{}
	<-h.begun
	h.end <- struct{}{}
	asking.Wait()
	if h.looks != 2 {
		t.Errorf("the kernel was read %d times, not once for the first and once for all others", h.looks)
	}
	for _, b := range began[1:] {
		if b != began[1] || b <= began[0] {
			t.Errorf("the readings began at %v", began)
		}
	}
}

func TestAReadingForThePageServesTwoSecondsThoughItFailed(t *testing.T) {
	for _, err := range []error{nil, errors.New("no")} {
		now := time.Second
		h := &slow{err: err}
		r := &reader{host: h, clock: func() events.Moment { return at(now) }}
		for _, c := range []struct {
			pass time.Duration
			want int
		}{{0, 1}, {pageFresh, 1}, {1, 2}, {pageFresh, 2}} {
			now += c.pass
			if _, got := r.recent(t.Context()); !errors.Is(got, err) || h.visited != c.want {
				t.Errorf("%v, the kernel was read %d times, not %d", got, h.visited, c.want)
			}
		}
		other := &slow{}
		r.use(other)
		if _, err := r.recent(t.Context()); err != nil || other.visited != 1 {
			t.Errorf("another server was asked %d times: %v", other.visited, err)
		}
	}
}
