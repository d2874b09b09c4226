package client

import (
	"context"
	"sync"
)

// unfinished bounds the hosts that wait for answers, each with a few sockets:
// beyond it a process runs out of descriptors.
const unfinished = 512

// Many calls do, which is [Knock] or [Close], for every target, and returns when
// all have ended. atOnce is how many hosts are sent their first sequence at the
// same time. Hosts that wait for an answer do not count, and are as many as
// fit: however many are dead, all of them time out side by side.
//
// done is called as each host ends, with its index; calls do not overlap.
func Many(ctx context.Context, ts []Target, atOnce int, do func(context.Context, Target) (Result, error),
	done func(i int, r Result, err error)) {
	sending := make(chan struct{}, max(1, atOnce))
	waiting := make(chan struct{}, unfinished)
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
