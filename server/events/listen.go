package events

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"knockkit/internal/kernel/backend"
	"knockkit/internal/kernel/claim"
)

// How often the listener acts without a packet.
const (
	tickEvery = 250 * time.Millisecond // while a time is running
	readGap   = 2 * time.Second        // between two readings of the kernel
	lossEvery = time.Second            // between two items about lost notices
	batchGap  = 100 * time.Millisecond // between two reads of the group, unless Gap says another: a flood is read in batches
)

// markLimit is how long an act waits for the reports from before it, where their mark is lost.
const markLimit = tellLimit / 4

// nameLimit is how long notices wait for the reading that tells who has knocked.
const nameLimit = tellLimit / 4

// readResult is the result of one reading of the kernel.
type readResult struct {
	Snapshot
	err error
}

// listener is the process that has the group.
type listener struct {
	*Feed
	tracker    *tracker
	lastRead   Moment // when the last reading began
	reportedAt time.Duration
	lost       uint64 // not published yet
	group      *Group
	results    chan readResult
	reading    bool          // a result will come
	batches    chan batch    // what the group reports
	hurry      chan struct{} // holds a word that the next batch is waited for
	acts       chan told     // what operators have done

	unserved         int // how often others could not be served
	reportedUnserved bool
}

// listen publishes what the group reports, and serves it to others, until the context ends or the
// group fails.
func (f *Feed) listen(ctx context.Context, group *Group) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer group.Close()
	l := &listener{Feed: f, tracker: newTracker(backend.Installed{}), group: group, results: make(chan readResult, 1), batches: make(chan batch), hurry: make(chan struct{}, 1), acts: make(chan told)}
	unserved := l.serve(ctx)
	go receive(ctx, group, cmp.Or(f.Gap, batchGap), l.batches, l.hurry)
	context.AfterFunc(ctx, func() { group.Close() }) // ends a read that waits
	l.tracker.watched = l.Clock().Up
	l.begin(ctx) // the first report has to be compared with what is installed
	l.take(l.result())
	var tick <-chan time.Time // nil while no time is running
	for {
		if tick == nil && (!l.tracker.idle() || l.lost > 0 || f.Every > 0) {
			tick = time.After(tickEvery)
		}
		select {
		case <-ctx.Done():
			return nil
		case b := <-l.batches:
			if b.err != nil {
				return b.err
			}
			if l.strange(b.reports) { // it may be installed since a moment ago
				if !l.reading {
					l.begin(ctx)
				}
				l.take(l.result())
			}
			l.report(ctx, b)
		case s := <-l.results:
			l.reading = false
			l.take(s)
		case s := <-f.offered:
			l.take(readResult{s, nil})
		case a := <-l.acts:
			if err := l.act(ctx, a); err != nil {
				return err
			}
		case <-f.refresh:
			if l.reading { // this reading may have begun too early
				f.Refresh()
				l.take(l.result())
				continue
			}
			l.begin(ctx)
		case <-unserved:
			unserved = l.serve(ctx)
		case <-tick:
			tick = nil
			l.publish(l.tracker.tick(l.Clock()))
		}
		l.reportLoss()
		if !l.reading && l.due() {
			l.begin(ctx)
		}
	}
}

// begin begins a reading of the kernel.
func (l *listener) begin(ctx context.Context) {
	l.reading, l.lastRead = true, l.Clock()
	go func() {
		s, err := l.Read(ctx)
		l.results <- readResult{s, err}
	}()
}

// result waits for the reading that has begun.
func (l *listener) result() readResult {
	s := <-l.results
	l.reading = false
	return s
}

// serve serves others. Where another process has the name it returns when to try again, and listens
// all the same. That process may be one of ours that is about to end.
func (l *listener) serve(ctx context.Context) (again <-chan time.Time) {
	err := serve(ctx, l.Hub, l.acts)
	if err == nil {
		return nil
	}
	has := new(claim.NameError)
	ours := errors.As(err, &has) && has.Trusted
	if l.unserved++; !l.reportedUnserved && (!ours || l.unserved > 1) {
		l.reportedUnserved = true
		l.setRole(Listener, fmt.Errorf("other watchers get no events: %w", err))
	}
	return time.After(retry)
}

// receive passes on what the group reports: the first report at once, and what comes within the gap
// as one batch, unless somebody is in a hurry. Meanwhile the kernel's buffer fills; reports that do not
// fit are lost there, and counted.
func receive(ctx context.Context, group *Group, gap time.Duration, to chan<- batch, hurry <-chan struct{}) {
	for {
		b, full := group.receive()
		select {
		case to <- b:
		case <-ctx.Done():
			return
		}
		if b.err != nil {
			return
		}
		if full {
			continue
		}
		select {
		case <-time.After(gap):
		case <-hurry:
		case <-ctx.Done():
			return
		}
	}
}

// report publishes what the kernel has reported. For leases of signed profiles it reads who has knocked;
// the tracker is told of that reading after the reports.
func (l *listener) report(ctx context.Context, b batch) {
	now := l.Clock()
	var s readResult
	read := false
	if l.lost += b.lost; b.lost > 0 {
		l.tracker.watched = now.Up
	} else {
		s, read = l.name(ctx, b.reports)
	}
	for _, r := range b.reports {
		l.publish(l.tracker.report(now, r))
	}
	if read {
		l.take(s)
	}
}

// name writes into reports who has knocked for leases of signed profiles, where there are such, and
// returns the reading that it has made for them. The user of a report is not known where that takes too
// long.
func (l *listener) name(ctx context.Context, reports []report) (s readResult, read bool) {
	if !slices.ContainsFunc(reports, func(r report) bool { _, ok := l.tracker.signed(r); return ok }) {
		return s, false
	}
	limit := time.After(nameLimit)
	result := func() (came bool) {
		select {
		case s = <-l.results:
			l.reading = false
			return true
		case <-limit: // it will come, and is taken as others are
			return false
		}
	}
	if l.reading { // this reading may have begun too early
		if !result() {
			return s, false
		}
		l.take(s)
	}
	if l.begin(ctx); !result() {
		return s, false
	}
	if s.err == nil {
		l.tracker.name(reports, s.Snapshot, l.Clock().Up)
	}
	return s, true
}

// strange reports whether reports name what the tracker does not know, and a reading is on its way or
// the last one is old enough for another.
func (l *listener) strange(reports []report) bool {
	return (l.reading || l.Clock().Up-l.lastRead.Up > readGap) && slices.ContainsFunc(reports, func(r report) bool { return !l.tracker.knows(r) })
}

// act publishes what an operator has done, behind what packets did before. The error is the group's.
func (l *listener) act(ctx context.Context, a told) error {
	if a.done != nil {
		close(a.done)
		return nil
	}
	if a.first {
		if err := l.catchUp(ctx); err != nil {
			return err
		}
	}
	l.publish([]Notice{l.tracker.act(l.Clock(), a)})
	return nil
}

// catchUp publishes what packets have been reported by now.
func (l *listener) catchUp(ctx context.Context) error {
	mark, err := l.group.mark()
	if err != nil {
		return err
	}
	select {
	case l.hurry <- struct{}{}:
	default: // the word is there already
	}
	limit := time.After(markLimit)
	for {
		select {
		case b := <-l.batches:
			if b.err != nil {
				return b.err
			}
			if l.report(ctx, b); b.marked == mark {
				return nil
			}
		case <-limit:
			return nil
		}
	}
}

// take gives a reading of the kernel to the tracker. One that failed is tried again when it is due;
// until then times are counted. A lease that is missing in it may have been revoked by a command that
// has the lock still, and tells so before it gives the lock up: then the reading is made again.
func (l *listener) take(s readResult) {
	switch now := l.Clock(); {
	case s.err != nil:
	case l.tracker.endsEarly(now, s.Snapshot) && claim.InUse(claim.Lock):
		l.tracker.stale = true
	default:
		l.publish(l.tracker.sync(now, s.Began, s.Installed, s.Sources))
	}
}

func (l *listener) due() bool {
	now := l.Clock()
	since := now.Up - l.lastRead.Up
	return since > readGap && (l.tracker.wantsRead(now) || (l.Every > 0 && since > l.Every))
}

// reportLoss publishes how many notices were lost, at most once a second.
func (l *listener) reportLoss() {
	now := l.Clock().Up
	if l.lost == 0 || now-l.reportedAt < lossEvery {
		return
	}
	l.Hub.Publish(Item{Lost: l.lost, Where: fmt.Sprintf("they came faster than NFLOG group %d was read", backend.LogGroup)})
	l.lost, l.reportedAt = 0, now
}

func (l *listener) publish(all []Notice) {
	for _, e := range all {
		l.Hub.Publish(Item{Notice: e})
	}
}
