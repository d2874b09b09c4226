package client

import (
	"context"
	"errors"
	"net"
	"time"
)

// Any knocks on the hosts of targets, one after the other, until one opens: enough where each lets in whoever
// has opened another. A host that is silent does not take all the time: when a first attempt would be over, the
// next one is tried beside it. When one has opened, the knocks on others end.
//
// do is [Knock], or what calls it. ended is called as each host ends, with its index; late says that another
// one had opened before, whether or not this one has too. Calls do not overlap.
func Any(ctx context.Context, ts []Target, do func(context.Context, Target) (Result, error),
	ended func(i int, r Result, err error, late bool)) {
	if len(ts) == 0 {
		return
	}
	indexes := new(IndexMemory) // where the targets have none: a host tells others which tokens it has seen
	firstSuccess(ctx, len(ts), ts[0].patience(), func(ctx context.Context, i int) (Result, error) {
		t := ts[i]
		if t.Indexes == nil {
			t.Indexes = indexes
		}
		return do(ctx, t)
	}, ended)
}

// patience is how long a first attempt takes that gets no answer.
func (t Target) patience() time.Duration {
	pl := planFor(t.Profile, 1, 0, t.verified())
	return pl.wait*time.Duration(len(t.Profile.Knocks())) + pl.window
}

// DialAny is [Dialer.DialContext] for several addresses, of which the first that lets the connection in is
// enough: they are tried as [Any] tries hosts, in their order. The error is that of all of them, in the order in
// which they failed.
func (d *Dialer) DialAny(ctx context.Context, network string, addresses []string) (conn net.Conn, address string, err error) {
	var failed []error
	firstSuccess(ctx, len(addresses), d.Target.patience(),
		func(ctx context.Context, i int) (net.Conn, error) { return d.DialContext(ctx, network, addresses[i]) },
		func(i int, c net.Conn, err error, late bool) {
			switch {
			case err != nil:
				failed = append(failed, err)
			case late:
				c.Close()
			default:
				conn, address = c, addresses[i]
			}
		})
	switch {
	case conn != nil:
		return conn, address, nil
	case len(failed) == 1:
		return nil, "", failed[0]
	}
	return nil, "", errors.Join(failed...)
}

// firstSuccess calls do for 0 to n-1 until one call succeeds. Each begins when one before it has failed, or beside it
// after a while. Those that are under way when one succeeds are cancelled, and have ended when firstSuccess returns.
// ended is told of each call; late are those that end after the one that succeeded.
func firstSuccess[T any](ctx context.Context, n int, after time.Duration, do func(ctx context.Context, i int) (T, error),
	ended func(i int, v T, err error, late bool)) {
	type end struct {
		i   int
		v   T
		err error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ends := make(chan end, n)
	for begun, running, done := 0, 0, false; running > 0 || begun < n && !done; {
		var next <-chan time.Time
		if begun < n && !done {
			i := begun
			go func() {
				v, err := do(ctx, i)
				ends <- end{i, v, err}
			}()
			begun++
			running++
			if begun < n {
				next = time.After(after)
			}
		}
		select {
		case e := <-ends:
			running--
			ended(e.i, e.v, e.err, done)
			if e.err == nil && !done {
				done = true
				cancel()
			}
		case <-next:
		}
	}
}
