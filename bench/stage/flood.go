//go:build linux

package stage

import (
	"context"
	"errors"
	"runtime"
	"time"
)

// Flood sends packets from the client, over and over, at a rate a second, until ctx
// ends. It returns how many it sent; that ctx ended is no error.
func (c *Cable) Flood(ctx context.Context, packets [][]byte, rate int) (sent int, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if rate == 0 {
		<-ctx.Done()
		return 0, nil
	}
	// A pause of the machine is not made up for: what came at once would overflow
	// the queue of the device, and the client's packets with it.
	const pause, most = time.Millisecond, 300
	tick := time.NewTicker(pause)
	defer tick.Stop()
	last, due := time.Now(), 0.0
	for {
		select {
		case <-ctx.Done():
			return sent, nil
		case <-tick.C:
		}
		now := time.Now()
		due = min(most, due+now.Sub(last).Seconds()*float64(rate))
		last = now
		for ; due >= 1; due-- {
			if err := c.Send(packets[sent%len(packets)]); err != nil {
				return sent, err
			}
			sent++
		}
	}
}

// FloodFor is Flood for a time.
func (c *Cable) FloodFor(ctx context.Context, packets [][]byte, rate int, d time.Duration) (sent int, err error) {
	limited, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	sent, err = c.Flood(limited, packets, rate)
	return sent, errors.Join(err, ctx.Err())
}
