package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"knockkit/server/fleet"
)

// Limits of a bucket.
const (
	maxValue   = 8 << 10   // bytes of a record
	maxBucket  = 256 << 20 // bytes of all
	markerTime = time.Hour // how long a deletion is remembered, for nodes that are away
	mostCopies = 3         // of each record, on as many engines
	putsAtOnce = 256
)

// How long the store may take, and how soon it is asked again.
const (
	askTime   = 2 * time.Second
	askAgain  = 250 * time.Millisecond
	probeTime = time.Second
)

// bucket is what is stored with one secret.
type bucket struct {
	number  int // of the secret
	seals   *seals
	copies  int
	foreign bool // somebody else's engine decides how many copies there are
	log     *slog.Logger
	take    func(fleet.Batch)

	mu        sync.Mutex
	sequences map[ID]uint64  // of the last change that was delivered
	pending   map[ID]pending // what is not stored yet
	some      chan struct{}  // there is something pending; one is enough
	again     chan struct{}  // all is to be delivered again; one is enough
	connected bool
	since     time.Time // it is, or is not
	why       error
	forged    uint64
	said      bool // that it does not answer
}

// pending is a text that has to be stored.
type pending struct {
	value []byte // nil: the record has to go
	until time.Time
}

func newBucket(number int, s *seals, copies int, foreign bool, log *slog.Logger, take func(fleet.Batch)) *bucket {
	return &bucket{number: number, seals: s, copies: copies, foreign: foreign, log: log, take: take, sequences: map[ID]uint64{}, pending: map[ID]pending{}, some: make(chan struct{}, 1), again: make(chan struct{}, 1), since: time.Now()}
}

// operation is the header of a record that says it was deleted.
const operation = "KV-Operation"

func (b *bucket) subject(name string) string { return "$KV." + b.name() + "." + name }

func (b *bucket) name() string { return "knockd-" + b.seals.word("bucket") }

// put remembers a text until it is stored. The later of two for one ID counts.
func (b *bucket) put(id ID, value []byte, until time.Time) {
	b.mu.Lock()
	b.pending[id] = pending{value, until}
	b.mu.Unlock()
	signal(b.some)
}

func signal(to chan<- struct{}) {
	select {
	case to <- struct{}{}:
	default: // one is on its way
	}
}

// awayTime is how long the store may not answer before that is said: while engines choose a leader it does not.
const awayTime = 15 * time.Second

// set notes whether the store answers, and says so where that has lasted.
func (b *bucket) set(connected bool, why error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if connected != b.connected {
		b.connected, b.since = connected, now
	}
	switch b.why = why; {
	case connected && b.said:
		b.said = false
		b.log.Info("fleet: the store answers again")
	case !connected && !b.said && now.Sub(b.since) > awayTime:
		b.said = true
		b.log.Warn("fleet: the store does not answer: nodes that are connected are told, and others not before it does", "err", why)
	}
}

// run follows the store until the context ends: again and again, since the store may go away.
func (b *bucket) run(ctx context.Context, js jetstream.JetStream) {
	patience := askAgain
	for ctx.Err() == nil {
		patience = min(2*patience, askTime) // while engines find each other, questions are lost
		err := b.follow(ctx, js, patience)
		b.mu.Lock()
		if b.connected {
			patience = askAgain
		}
		b.mu.Unlock()
		if ctx.Err() != nil {
			return
		}
		b.set(false, err)
		b.log.Debug("fleet: no store", "err", err)
		b.take(fleet.Batch{})
		pause(ctx, askAgain)
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// follow delivers all that the bucket has, then each change, and stores what is pending, until the store
// does not answer any more.
func (b *bucket) follow(ctx context.Context, js jetstream.JetStream, patience time.Duration) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	kv, err := b.open(ctx, js, patience)
	if err != nil {
		return err
	}
	stream, err := js.Stream(ctx, "KV_"+b.name())
	if err != nil {
		return err
	}
	watcher, err := kv.WatchAll(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = watcher.Stop() }()
	b.mu.Lock()
	clear(b.sequences)
	b.mu.Unlock()
	b.take(fleet.Batch{Again: true})
	lost := make(chan error, 1)
	var group sync.WaitGroup
	defer group.Wait()
	defer cancel()
	group.Go(func() { lost <- b.probe(ctx, js) })
	told := time.NewTimer(10 * askTime)
	defer told.Stop()
	for caughtUp := false; ; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-lost:
			return err
		case <-b.again:
			return errors.New("all is asked for again")
		case <-told.C:
			if !caughtUp {
				return errors.New("the store does not tell what it has")
			}
		case e, ok := <-watcher.Updates():
			switch {
			case !ok:
				return errors.New("the store has ended the connection")
			case e == nil && !caughtUp:
				caughtUp = true
				b.set(true, nil)
				b.take(fleet.Batch{CaughtUp: true})
				group.Go(func() { b.store(ctx, js, stream) })
			case e != nil:
				told.Reset(10 * askTime)
				var sealed []byte
				if e.Operation() == jetstream.KeyValuePut {
					sealed = e.Value()
				}
				b.deliver(e.Key(), sealed, e.Revision())
			}
		}
	}
}

// fewerAfter is how long engines may be missing before a store is made that has fewer copies: with the one
// engine that has it, it would go.
const fewerAfter = 10 * time.Second

// open returns the bucket, which it makes where there is none. Where engines are missing for long it has one copy.
func (b *bucket) open(ctx context.Context, js jetstream.JetStream, patience time.Duration) (kv jetstream.KeyValue, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if kv, err = js.KeyValue(ctx, b.name()); !errors.Is(err, jetstream.ErrBucketNotFound) {
		return kv, storeError(err)
	}
	b.mu.Lock()
	few := b.foreign || time.Since(b.since) > fewerAfter
	b.mu.Unlock()
	for _, copies := range []int{b.copies, 1} {
		if copies < b.copies && !few {
			break
		}
		if kv, err = js.CreateKeyValue(ctx, b.config(copies)); err == nil {
			break
		}
	}
	return kv, storeError(err)
}

func (b *bucket) config(copies int) jetstream.KeyValueConfig {
	return jetstream.KeyValueConfig{Bucket: b.name(), MaxValueSize: maxValue, MaxBytes: maxBucket, Storage: jetstream.FileStorage, Replicas: copies, LimitMarkerTTL: markerTime}
}

func storeError(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("the store: %w", err)
}

// copy makes as many copies as there are to be: more when engines have come, fewer when they were taken out.
func (b *bucket) copy(ctx context.Context, js jetstream.JetStream, is int) {
	if is == b.copies || b.foreign {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	if _, err := js.UpdateKeyValue(ctx, b.config(b.copies)); err != nil {
		b.log.Debug("fleet: the store has other copies than it is to have", "copies", is, "wanted", b.copies, "err", err)
	}
}

// probe returns when the store has not answered twice.
func (b *bucket) probe(ctx context.Context, js jetstream.JetStream) error {
	created := time.Time{}
	for failed := 0; ; {
		pause(ctx, probeTime)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		asking, cancel := context.WithTimeout(ctx, askTime)
		stream, err := js.Stream(asking, "KV_"+b.name())
		cancel()
		switch {
		case err == nil && created.IsZero():
			created, failed = stream.CachedInfo().Created, 0
		case err == nil && !stream.CachedInfo().Created.Equal(created):
			return errors.New("the store is another one")
		case err == nil:
			failed = 0
			b.copy(ctx, js, stream.CachedInfo().Config.Replicas)
		case errors.Is(err, jetstream.ErrStreamNotFound):
			return fmt.Errorf("the store: %w", err)
		default:
			if failed++; failed == 2 {
				return fmt.Errorf("the store does not answer: %w", err)
			}
		}
	}
}

// deliver passes a change on: the text that is stored, or nil. One that no node has written is as if there
// were none: who has something to say about it says it again.
func (b *bucket) deliver(name string, sealed []byte, sequence uint64) {
	id, ok := b.seals.id(name)
	r := fleet.Record{ID: id, Secret: b.number}
	var err error
	if sealed != nil {
		r.Value, err = b.seals.open(name, sealed)
	}
	b.mu.Lock()
	if !ok || err != nil {
		b.forged++
	}
	if ok {
		b.sequences[id] = sequence
	}
	b.mu.Unlock()
	if ok {
		b.take(fleet.Batch{Records: []fleet.Record{r}})
	}
}

// store stores what is pending, as long as the context lasts.
func (b *bucket) store(ctx context.Context, js jetstream.JetStream, stream jetstream.Stream) {
	signal(b.some)
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.some:
		}
		for b.storeSome(ctx, js, stream) {
			if ctx.Err() != nil {
				return
			}
		}
	}
}

// storeSome stores some of what is pending, and reports whether there is more to do now.
func (b *bucket) storeSome(ctx context.Context, js jetstream.JetStream, stream jetstream.Stream) (more bool) {
	type sent struct {
		id     ID
		what   pending
		answer jetstream.PubAckFuture
	}
	var all []sent
	b.mu.Lock()
	for id, what := range b.pending {
		if len(all) == putsAtOnce {
			more = true
			break
		}
		if !what.until.IsZero() && time.Until(what.until) < -markerTime {
			delete(b.pending, id)
			continue
		}
		all = append(all, sent{id: id, what: what})
	}
	sequences := make([]uint64, len(all))
	for i, s := range all {
		sequences[i] = b.sequences[s.id]
	}
	b.mu.Unlock()
	for i := range all {
		m, options := b.message(all[i].id, all[i].what, sequences[i])
		var err error
		if all[i].answer, err = js.PublishMsgAsync(m, options...); err != nil {
			break
		}
	}
	for _, s := range all {
		if s.answer == nil {
			more = true
			continue
		}
		var err error
		select {
		case ack := <-s.answer.Ok():
			b.stored(s.id, s.what, ack.Sequence)
			continue
		case err = <-s.answer.Err():
		case <-time.After(askTime):
			err = errors.New("no answer")
		case <-ctx.Done():
			return false
		}
		if api := new(jetstream.APIError); errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant) {
			b.reread(ctx, stream, s.id, s.what)
			continue
		}
		b.log.Debug("fleet: not stored", "err", err)
		more = true
	}
	if more && len(all) < putsAtOnce {
		pause(ctx, askAgain)
	}
	return more
}

// message is what stores a text, unless the record has changed since it was delivered.
func (b *bucket) message(id ID, what pending, sequence uint64) (*nats.Msg, []jetstream.PublishOpt) {
	name := b.seals.name(id)
	m := nats.NewMsg(b.subject(name))
	options := []jetstream.PublishOpt{jetstream.WithExpectLastSequencePerSubject(sequence)}
	switch {
	case what.value == nil:
		m.Header.Set(operation, "PURGE")
		m.Header.Set(jetstream.MsgRollup, jetstream.MsgRollupSubject)
		options = append(options, jetstream.WithMsgTTL(markerTime))
	default:
		m.Data = b.seals.seal(name, what.value)
		if !what.until.IsZero() {
			left := time.Until(what.until).Truncate(time.Second) + time.Second
			options = append(options, jetstream.WithMsgTTL(max(left, time.Second)))
		}
	}
	return m, options
}

// stored forgets what is pending no more.
func (b *bucket) stored(id ID, what pending, sequence uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sequences[id] = max(b.sequences[id], sequence)
	b.forget(id, what)
}

func (b *bucket) forget(id ID, what pending) {
	if is, ok := b.pending[id]; ok && string(is.value) == string(what.value) && is.until.Equal(what.until) {
		delete(b.pending, id)
	}
}

// reread reads a record that is not as it was delivered. Where it has another text, what is pending is
// forgotten: the caller decides again.
func (b *bucket) reread(ctx context.Context, stream jetstream.Stream, id ID, what pending) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	name := b.seals.name(id)
	m, err := stream.GetLastMsgForSubject(ctx, b.subject(name))
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound): // nobody says so
		b.mu.Lock()
		b.sequences[id] = 0
		b.mu.Unlock()
	case err != nil:
		b.log.Debug("fleet: a record is not read", "err", err)
	case m.Header.Get(operation) != "" || m.Header.Get(jetstream.MarkerReasonHeader) != "":
		b.deliver(name, nil, m.Sequence)
	default:
		b.mu.Lock()
		b.forget(id, what)
		b.mu.Unlock()
		b.deliver(name, m.Data, m.Sequence)
	}
	signal(b.some)
}

func trimmed(err error) string {
	if err == nil {
		return ""
	}
	return strings.TrimPrefix(err.Error(), "nats: ")
}
