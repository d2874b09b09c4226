package service

import (
	"context"
	"slices"
	"sync"
	"time"

	"knockkit/internal/metrics"
	"knockkit/protocol"
	"knockkit/server"
	"knockkit/server/events"
	"knockkit/server/keys"
)

// KeyStore is what a server keeps on disk about its keys: [keys.Store].
type KeyStore interface {
	Highest() (slot int64, err error)
	Record(slot int64) error
	Used(last map[string]keys.Use) error
}

// keyring keeps the kernel's tokens in order while a signed profile is installed. Without one it does
// nothing.
type keyring struct {
	Config
	clock events.Clock
	uses  uses
	spent spentTokens   // at other servers of the fleet
	kick  chan struct{} // something has changed; one is enough
	told  func()        // summary has changed

	metrics *metrics.Metrics // nil: nobody counts

	mu     sync.Mutex
	host   Host // where a signed profile is installed, else nil
	due    bool // a refresh is due before its time
	stale  bool // files have changed
	status string

	// Of the task alone.
	clocks stepper
	next   time.Time                  // when a refresh is due, by the machine's clock
	last   time.Duration              // when the last one ended
	slot   int64                      // of the last refresh
	keys   []keys.Entry               // of all files that can be used
	ends   map[protocol.Key]time.Time // of those that have one
	broken []error                    // of the others
	loaded []protocol.Key             // that the kernel has
	unsure bool                       // the kernel's record of used tokens is not to be trusted
	shut   server.KeyState
	faults map[string]string // what failed last time, and why: that is not logged again
}

func newKeyring(c Config, clock events.Clock, told func()) *keyring {
	return &keyring{Config: c, clock: clock, kick: make(chan struct{}, 1), told: told, faults: map[string]string{}}
}

// installed tells what was installed a moment ago, and by which server.
func (r *keyring) installed(h Host, profiles []*protocol.Profile) {
	if r.Keys == nil || !slices.ContainsFunc(profiles, (*protocol.Profile).IsSigned) {
		h = nil
	}
	r.mu.Lock()
	ends := r.host != nil && h == nil
	r.host = h
	r.mu.Unlock()
	if r.wake(false); ends {
		signal(r.kick)
	}
}

// wake has the tokens refreshed soon: where files may have changed, with the keys that they say.
func (r *keyring) wake(files bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.due, r.stale = true, r.stale || files; r.host != nil {
		signal(r.kick)
	}
}

// summary says in a line what is wrong with signed profiles; "": nothing.
func (r *keyring) summary() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.status
}

func (r *keyring) say(status string) {
	r.mu.Lock()
	was := r.status
	r.status = status
	r.mu.Unlock()
	if status != was {
		r.told()
	}
}

// run refreshes the tokens until the context ends.
func (r *keyring) run(ctx context.Context, ready func()) error {
	ready()
	for ctx.Err() == nil {
		if r.server() != nil {
			r.keep(ctx)
		}
		r.pause(ctx, nil)
	}
	r.writeUses()
	return nil
}

func (r *keyring) server() Host {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.host
}

// pause waits until something has changed, or for the timer, which may be nil.
func (r *keyring) pause(ctx context.Context, timer <-chan time.Time) {
	select {
	case <-ctx.Done():
	case <-r.kick:
	case <-timer:
	}
}

// keep refreshes the tokens while a signed profile is installed.
func (r *keyring) keep(ctx context.Context) {
	watching, stop := context.WithCancel(ctx)
	defer stop()
	files := watchKeys(r.Folder, r.Log)
	go files.run(watching, func() { r.wake(true) })
	r.wake(true)
	r.next = time.Time{}
	for ctx.Err() == nil {
		host := r.server()
		if host == nil {
			break
		}
		timer := time.NewTimer(r.tick(ctx, host))
		r.pause(ctx, timer.C)
		timer.Stop()
	}
	r.writeUses()
	r.keys, r.broken, r.loaded, r.shut = nil, nil, nil, server.KeyState{}
	r.shows(server.KeyState{}, false)
	r.say("")
}

// clockCheck is how long the machine's clock may be set without this being noticed.
const clockCheck = time.Second

// tick refreshes the tokens where that is due, and returns how long it has time until the next tick.
func (r *keyring) tick(ctx context.Context, host Host) time.Duration {
	now := r.clock()
	step := r.clocks.step(now)
	if step.Abs() >= protocol.SlotTime {
		r.unsure = true
		r.Log.Warn("the machine's clock was set: which tokens were used up is not known", "by", step)
	}
	r.mu.Lock()
	soon := r.due && (now.Up >= r.last+checkGap || r.last == 0)
	if soon || step != 0 || !now.Wall.Before(r.next) {
		files := r.stale
		r.due, r.stale = false, false
		r.mu.Unlock()
		r.next = r.refresh(ctx, host, now.Wall, files)
		now = r.clock()
		r.last = now.Up
		r.mu.Lock()
	}
	defer r.mu.Unlock()
	wait := min(clockCheck, r.next.Sub(now.Wall))
	if r.due {
		wait = min(wait, r.last+checkGap-now.Up)
	}
	return max(wait, time.Millisecond)
}
