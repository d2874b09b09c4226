package client

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"knockkit/protocol"
)

// Knock sends the profile's sequence to one address of each family that the
// host has, side by side, and checks the first opened TCP port. It repeats
// itself with other timing until that opens, at most as often as the profile
// says; what cannot be checked is sent once, with every knock doubled. A signed
// profile's knock is one packet, with another token for each address and attempt.
//
// The error is nil when the result's outcome is Open or Knocked. Else it is a
// [*NotOpenError], a [*PrivilegeError], a [*ProfileError], an [*UnfinishedError]
// when the context ended it, or what kept a name from being resolved or a packet
// from being sent; or it says that this machine does not have Source or
// Interface. When Knock returns, all its sockets are closed.
func Knock(ctx context.Context, t Target) (Result, error) {
	return knockOn(ctx, t, nil)
}

func knockOn(ctx context.Context, t Target, w wire) (Result, error) {
	switch {
	case t.Profile.Signed == nil:
	case t.Key == nil:
		return Result{}, &ProfileError{t.Profile.Name, "is signed, and there is no key to knock with"}
	case t.Indexes == nil:
		t.Indexes = new(IndexMemory)
	}
	return knock(ctx, t, w)
}

// Close gives the lease back: it sends the profile's `close` knock. It cannot
// be checked, so the outcome is Knocked at best. Errors are those of [Knock].
func Close(ctx context.Context, t Target) (Result, error) {
	if t.Profile.Close == nil {
		return Result{}, &ProfileError{t.Profile.Name, "has no `close` knock"}
	}
	p := *t.Profile
	p.Sequence, p.Signed = []protocol.Step{{Knock: *p.Close}}, nil // it carries no token
	t.Profile, t.NoVerify, t.closing = &p, true, true
	return knock(ctx, t, nil)
}

// knock knocks over a wire; nil: the network of this machine.
func knock(ctx context.Context, t Target, w wire) (Result, error) {
	r := Result{Profile: t.Profile.Name, Host: t.Host, Source: t.Source, Interface: t.Interface, closing: t.closing}
	if w == nil {
		n, err := t.network()
		if err != nil {
			return r, err
		}
		w = n
	}
	addrs, err := resolve(ctx, t)
	if err != nil {
		return r, err
	}
	sent := func() {}
	if t.turn != nil {
		if sent, err = t.turn(ctx); err != nil {
			return r, unfinished(ctx, false, "no knock was sent to %s", t.Host)
		}
		defer sent()
	}
	r.Addrs = sideBySide(ctx, t, w, addrs, sent)
	return r, r.err(ctx)
}

// shared is common to the visits of one host's addresses.
type shared struct {
	Target
	wire      wire
	sent      func()      // called when an address was sent its first sequence
	opened    atomic.Bool // an address opened
	observing sync.Mutex  // held during Observe
}

// sideBySide knocks on all addresses at once. When it returns, nothing of any of them is under way.
func sideBySide(ctx context.Context, t Target, w wire, addrs []netip.Addr, sent func()) []AddrResult {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &shared{Target: t, wire: w, sent: sent}
	results := make([]AddrResult, len(addrs))
	var visits sync.WaitGroup
	for i, addr := range addrs {
		visits.Go(func() {
			results[i] = (&visit{shared: s, addr: addr}).run(ctx)
			if t.first && results[i].Outcome == Open {
				cancel()
			}
		})
	}
	visits.Wait()
	return results
}

func (s *shared) observe(e Progress) {
	if s.Observe == nil {
		return
	}
	s.observing.Lock()
	defer s.observing.Unlock()
	s.Observe(e)
}

// err is the result as one error.
func (r Result) err(ctx context.Context) error {
	if r.Outcome().OK() {
		return nil
	}
	if late := r.unfinished(ctx); late != nil {
		return late
	}
	for _, a := range r.Addrs {
		if p := new(*PrivilegeError); errors.As(a.Err, p) {
			return *p
		}
	}
	if r.Outcome() == Broken {
		i := slices.IndexFunc(r.Addrs, func(a AddrResult) bool { return a.Err != nil })
		return r.Addrs[i].Err
	}
	return &NotOpenError{r}
}

// unfinished says what was not done when ctx ended, on the address that got furthest; nil: all was.
func (r Result) unfinished(ctx context.Context) error {
	var furthest *AddrResult
	for i, a := range r.Addrs {
		if late := new(UnfinishedError); errors.As(a.Err, &late) && (furthest == nil || late.Checked) {
			furthest = &r.Addrs[i]
		}
	}
	if furthest == nil {
		return nil
	}
	return furthest.unfinished(ctx, r.Host)
}

// maxWaiting bounds the hosts that wait for answers, each with a few sockets:
// beyond it a process runs out of descriptors.
const maxWaiting = 512

// Many calls do, which is [Knock] or [Close], for every target, and returns when
// all have ended. atOnce is how many hosts are sent their first sequence at the
// same time. Hosts that wait for an answer do not count, and are as many as
// fit: however many are dead, all of them time out side by side.
//
// done is called as each host ends, with its index; calls do not overlap.
func Many(ctx context.Context, ts []Target, atOnce int, do func(context.Context, Target) (Result, error),
	done func(i int, r Result, err error)) {
	sending := make(chan struct{}, max(1, atOnce))
	waiting := make(chan struct{}, maxWaiting)
	var all sync.WaitGroup
	var mu sync.Mutex
	for i, t := range ts {
		waiting <- struct{}{}
		t.turn = func(ctx context.Context) (func(), error) {
			select {
			case sending <- struct{}{}:
				return sync.OnceFunc(func() { <-sending }), nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		all.Go(func() {
			r, err := do(ctx, t)
			<-waiting
			mu.Lock()
			defer mu.Unlock()
			done(i, r, err)
		})
	}
	all.Wait()
}
