package events

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"knockkit/internal/kernel/backend"
	"knockkit/internal/kernel/claim"
)

// How often the listener does what no packet calls for.
const (
	tickEvery = 250 * time.Millisecond // while a time is running
	lookGap   = 2 * time.Second        // between two looks at the kernel
	lossEvery = time.Second            // between two words about lost events
)

// batch is what one read from the group brought.
type batch struct {
	reports []report
	lost    uint64
	err     error
}

// looked is how one look at the kernel went.
type looked struct {
	Seen
	err error
}

// listener is the process that has the group.
type listener struct {
	*Feed
	story  *story
	looked Moment // when the last look began
	told   time.Duration
	lost   uint64 // not told yet

	unserved     int // how often others could not be served
	toldUnserved bool
}

// listen publishes what the group reports, and serves it to others, until the
// context ends or the group fails.
func (f *Feed) listen(ctx context.Context, group *Group) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer group.Close()
	l := &listener{Feed: f, story: newStory(backend.Installed{})}
	unserved := l.serve(ctx)
	batches := make(chan batch)
	go receive(ctx, group, batches)
	context.AfterFunc(ctx, func() { group.Close() }) // ends a read that waits
	looks := make(chan looked, 1)
	looking := false
	look := func() {
		looking, l.looked = true, l.Clock()
		go func() {
			s, err := f.Look(ctx)
			looks <- looked{s, err}
		}()
	}
	look() // what is installed has to be known before the first report can be told
	first := <-looks
	looking = false
	l.take(first)
	var tick <-chan time.Time // nil while no time is running
	for {
		if tick == nil && (!l.story.idle() || l.lost > 0 || f.Every > 0) {
			tick = time.After(tickEvery)
		}
		select {
		case <-ctx.Done():
			return nil
		case b := <-batches:
			if b.err != nil {
				return b.err
			}
			if l.strange(b.reports) { // installed a moment ago: told in full all the same
				if !looking {
					look()
				}
				l.take(<-looks)
				looking = false
			}
			l.report(b)
		case s := <-looks:
			looking = false
			l.take(s)
		case s := <-f.seen:
			l.take(looked{s, nil})
		case <-f.refresh:
			if looking { // that one may have begun too early
				f.Refresh()
				l.take(<-looks)
				looking = false
				continue
			}
			look()
		case <-unserved:
			unserved = l.serve(ctx)
		case <-tick:
			tick = nil
			l.publish(l.story.tick(l.Clock()))
		}
		l.tell()
		if !looking && l.due() {
			look()
		}
	}
}

// serve serves others. Where somebody else has the name it returns when to try again: who
// has the group listens all the same. One of our own had it a moment ago, perhaps.
func (l *listener) serve(ctx context.Context) (again <-chan time.Time) {
	err := serve(ctx, l.Hub)
	if err == nil {
		return nil
	}
	has := new(claim.NameError)
	ours := errors.As(err, &has) && has.Friend
	if l.unserved++; !l.toldUnserved && (!ours || l.unserved > 1) {
		l.toldUnserved = true
		l.say(Listener, fmt.Errorf("other watchers get no events: %w", err))
	}
	return time.After(retry)
}

// receive hands on what the group reports. While it waits to do so, the kernel's
// buffer fills, and what does not fit is lost there, and counted.
func receive(ctx context.Context, group *Group, to chan<- batch) {
	for {
		var b batch
		b.reports, b.lost, b.err = group.receive()
		select {
		case to <- b:
		case <-ctx.Done():
			return
		}
		if b.err != nil {
			return
		}
	}
}

func (l *listener) report(b batch) {
	l.lost += b.lost
	now := l.Clock()
	for _, r := range b.reports {
		l.publish(l.story.report(now, r))
	}
}

// strange reports whether reports name what is not known, and a look is not too much
// to ask.
func (l *listener) strange(reports []report) bool {
	return l.Clock().Up-l.looked.Up > lookGap && slices.ContainsFunc(reports, func(r report) bool { return !l.story.knows(r) })
}

// take brings a look at the kernel into the story. One that failed is tried again
// when it is due: until then times are counted.
func (l *listener) take(s looked) {
	if s.err == nil {
		l.publish(l.story.sync(l.Clock(), s.Began, s.Installed, s.Sources))
	}
}

func (l *listener) due() bool {
	now := l.Clock()
	since := now.Up - l.looked.Up
	return since > lookGap && (l.story.wants(now) || (l.Every > 0 && since > l.Every))
}

// tell says how many events were lost, at most once a second.
func (l *listener) tell() {
	now := l.Clock().Up
	if l.lost == 0 || now-l.told < lossEvery {
		return
	}
	l.Hub.Publish(Item{Lost: l.lost, Where: fmt.Sprintf("they came faster than NFLOG group %d was read", backend.LogGroup)})
	l.lost, l.told = 0, now
}

func (l *listener) publish(all []Event) {
	for _, e := range all {
		l.Hub.Publish(Item{Event: e})
	}
}
