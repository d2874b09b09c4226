package service

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"knockkit/protocol"
	"knockkit/protocol/format"
	"knockkit/server"
	"knockkit/server/events"
)

// KeyFiles are the keys of a configuration folder.
type KeyFiles struct {
	Keys   []*format.KeyFile // disabled and expired ones too
	Broken []error           // files that cannot be used
}

// KeyStore is what a server keeps on disk about its keys.
type KeyStore interface {
	Highest() (slot int64, err error) // the highest slot that a kernel has had; 0: none
	Record(slot int64) error          // writes that; it is on the disk when this returns
	Used(last map[string]Use) error   // writes last uses, by the ID of the key; those that are later stay
}

// keyring keeps the kernel's tokens in order while a signed profile is installed. Without one it does
// nothing.
type keyring struct {
	Config
	clock events.Clock
	uses  uses
	kick  chan struct{} // something has changed; one is enough
	told  func()        // summary has changed

	mu     sync.Mutex
	host   Host // where a signed profile is installed, else nil
	due    bool // a refresh is due before its time
	stale  bool // files have changed
	status string

	// Of the task alone.
	clocks stepper
	next   time.Time     // when a refresh is due, by the machine's clock
	last   time.Duration // when the last one ended
	slot   int64         // of the last refresh
	keys   KeyFiles
	loaded []protocol.Key // that the kernel has
	unsure bool           // the kernel's record of used tokens is not to be trusted
	shut   server.KeyState
	faults map[string]string // what failed last time, and why: that is not logged again
}

func newKeyring(c Config, clock events.Clock, told func()) *keyring {
	return &keyring{Config: c, clock: clock, kick: make(chan struct{}, 1), told: told, faults: map[string]string{}}
}

// installed tells what was installed a moment ago, and by which server.
func (r *keyring) installed(h Host, profiles []*protocol.Profile) {
	if r.Keys == nil || !slices.ContainsFunc(profiles, func(p *protocol.Profile) bool { return p.Signed != nil }) {
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
	r.keys, r.loaded, r.shut = KeyFiles{}, nil, server.KeyState{}
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

// refresh gives the kernel the tokens that it is to have, and returns when to do that again.
func (r *keyring) refresh(ctx context.Context, host Host, now time.Time, files bool) time.Time {
	defer freeMemory()
	next := protocol.SlotStart(protocol.Slot(now) + 1)
	var state server.KeyState
	err := r.readKeys(files)
	if err == nil {
		state, err = r.give(ctx, host, now)
	}
	r.failure(err)
	if slot := protocol.Slot(now); slot != r.slot {
		r.slot = slot
		r.writeUses()
		r.forgetUsers(ctx, host)
	}
	if err != nil {
		return r.clock().Wall.Add(checkRetry)
	}
	r.logState(state, now)
	soonest := func(t time.Time) {
		if t.After(now) && t.Before(next) {
			next = t
		}
	}
	soonest(state.Opens)
	for _, k := range r.keys.Keys {
		if !k.Disabled {
			soonest(k.Expires)
		}
	}
	return next
}

// readKeys reads the files of keys, where they may have changed.
func (r *keyring) readKeys(changed bool) error {
	if !changed {
		return nil
	}
	keys, err := r.Keys()
	if err != nil {
		r.mu.Lock()
		r.stale = true // they are still to be read
		r.mu.Unlock()
		return err
	}
	r.logBroken(keys.Broken)
	r.keys = keys
	return nil
}

// give gives the kernel the tokens of the keys that may open now.
func (r *keyring) give(ctx context.Context, host Host, now time.Time) (server.KeyState, error) {
	ctx, cancel := context.WithTimeout(ctx, WorkLimit)
	defer cancel()
	highest, err := r.State.Highest()
	if err != nil {
		return server.KeyState{}, &stateError{err}
	}
	var usable []protocol.Key
	for _, k := range r.keys.Keys {
		if k.Usable(now) {
			usable = append(usable, k.Key)
		}
	}
	gone := slices.DeleteFunc(slices.Clone(r.loaded), func(k protocol.Key) bool { return slices.Contains(usable, k) })
	state, err := host.RefreshKeys(ctx, server.KeyRefresh{
		Now: now, Keys: usable, Gone: gone, Highest: highest, Clear: r.unsure,
		Record: func(slot int64) error {
			if err := r.State.Record(slot); err != nil {
				return &stateError{err}
			}
			return nil
		},
	})
	if err != nil {
		return state, err
	}
	r.loaded, r.unsure = usable, false
	return state, nil
}

// forgetUsers has the kernel forget who has opened leases that are over.
func (r *keyring) forgetUsers(ctx context.Context, host Host) {
	ctx, cancel := context.WithTimeout(ctx, WorkLimit)
	defer cancel()
	if h, ok := host.(interface{ ForgetUsers(context.Context) error }); ok {
		r.fault("who has opened leases that are over is not forgotten", h.ForgetUsers(ctx))
	}
}

// stateError says that the record of slots cannot be read or written.
type stateError struct{ error }

func (e *stateError) Unwrap() error { return e.error }

// writeUses writes when keys were used. What cannot be written waits for the next time.
func (r *keyring) writeUses() {
	waiting := r.uses.take()
	if len(waiting) == 0 {
		return
	}
	err := r.State.Used(waiting)
	if err != nil {
		r.uses.putBack(waiting)
	}
	r.fault("when keys were used last is not kept", err)
}

// fault logs what has failed, unless it is the same as last time. What the end of the service has cut
// short is none.
func (r *keyring) fault(what string, err error, attrs ...any) {
	if errors.Is(err, context.Canceled) {
		return
	}
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != r.faults[what] && err != nil {
		r.Log.Error(what, append([]any{"err", err}, attrs...)...)
	}
	r.faults[what] = text
}

// failure says why the tokens are not refreshed.
func (r *keyring) failure(err error) {
	do := "what the kernel has of tokens ends within a minute; this is tried again"
	if state := new(stateError); errors.As(err, &state) {
		do = "signed profiles stay shut until the service can read and write its state: see docs/service-unit.md"
	}
	const what = "signed profiles get no tokens"
	r.fault(what, err, "do", do)
	if err != nil {
		r.say(what + ": " + err.Error())
	}
}
