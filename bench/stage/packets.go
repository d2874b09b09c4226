//go:build linux

package stage

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"knockkit/internal/lab"
	"knockkit/protocol"
)

// Kind is what a stranger's packet is to the rules.
type Kind string

// The kinds, in the order in which they are shown.
const (
	Elsewhere Kind = "a port that nobody gates"
	Gated     Kind = "a gated port"
	First     Kind = "a first knock"
)

// Kinds lists the kinds.
func Kinds() []Kind { return []Kind{Elsewhere, Gated, First} }

// strangers is how many sources each of the two halves of the forged ones has:
// those that never knock, and those that make first knocks. So a packet of the
// other kinds never comes from a source in a position.
const strangers = Forged / 2

// Forged is how many sources can be forged.
const Forged = 1 << 16

// Packets returns SYNs of a kind, each a flow of its own, spread evenly over the
// profiles' ports. They are of the address's family.
func Packets(kind Kind, profiles []*protocol.Profile, to netip.Addr, n int) [][]byte {
	packets := make([][]byte, n)
	for i := range packets {
		source := i % strangers
		if kind == First {
			source += strangers
		}
		addr := lab.ForgedAddr4(source)
		if to.Is6() {
			addr = lab.ForgedAddr6(source)
		}
		from := netip.AddrPortFrom(addr, uint16(20_000+i%40_000))
		packets[i] = lab.SYN(from, netip.AddrPortFrom(to, port(kind, profiles, i)))
	}
	return packets
}

func port(kind Kind, profiles []*protocol.Profile, i int) uint16 {
	p := profiles[i%len(profiles)]
	switch kind {
	case Gated:
		return p.Open[0].First
	case First:
		return p.Sequence[0].Knock.Port
	}
	return Unused
}

// FirstKnocks returns a first knock of the profile from every forged source.
func FirstKnocks(p *protocol.Profile, to netip.Addr) [][]byte {
	packets := make([][]byte, Forged)
	for i := range packets {
		from := netip.AddrPortFrom(lab.ForgedAddr4(i), uint16(20_000+i%40_000))
		packets[i] = lab.SYN(from, netip.AddrPortFrom(to, p.Sequence[0].Knock.Port))
	}
	return packets
}

// Burst is how much is injected at a time.
type Burst struct {
	WarmUp int           // packets before the clock starts
	Limit  time.Duration // the burst ends after this much processor time
}

// readEvery is how many packets pass between two looks at the clock.
const readEvery = 128

// Inject lets packets come in over the wire, one after the other, and returns the
// processor time that one took, in nanoseconds: the system call that hands it over,
// and all that the kernel does with it, which it does in that very call. Time in
// which others had the processor is not in it. What the host has answered is thrown
// away.
func (b Burst) Inject(wire *lab.Wire, packets [][]byte) (ns float64, err error) {
	// The clock is that of the thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	warmUp := min(b.WarmUp, len(packets)/4)
	for _, p := range packets[:warmUp] {
		if err := wire.Inject(p); err != nil {
			return 0, err
		}
	}
	packets = packets[warmUp:]
	start, err := threadTime()
	if err != nil {
		return 0, err
	}
	took, done := time.Duration(0), 0
	for done < len(packets) && took < b.Limit {
		for end := min(done+readEvery, len(packets)); done < end; done++ {
			if err := wire.Inject(packets[done]); err != nil {
				return 0, err
			}
		}
		now, err := threadTime()
		if err != nil {
			return 0, err
		}
		took = now - start
	}
	if _, err := wire.Drain(); err != nil {
		return 0, err
	}
	return float64(took.Nanoseconds()) / float64(done), nil
}

// threadTime is the processor time that the calling thread has had.
func threadTime() (time.Duration, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		return 0, fmt.Errorf("processor time of the thread: %w", err)
	}
	return time.Duration(t.Nano()), nil
}

// AtMost is the rate of a flood that is as fast as the machine makes it.
const AtMost = -1

// Flood sends packets from the client, over and over, at a rate a second, until ctx
// ends. It returns how many it sent; that ctx ended is no error. The rate may be
// [AtMost].
func (c *Cable) Flood(ctx context.Context, packets [][]byte, rate int) (sent int, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	switch rate {
	case 0:
		<-ctx.Done()
		return 0, nil
	case AtMost:
		return c.floodAtMost(ctx, packets)
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

// floodAtMost keeps all processors busy but one, on which the right client runs.
func (c *Cable) floodAtMost(ctx context.Context, packets [][]byte) (int, error) {
	var senders errgroup.Group
	var sent atomic.Int64
	n := max(1, runtime.NumCPU()-1)
	for i := range n {
		senders.Go(func() error {
			for at := i; ctx.Err() == nil; at += n {
				if err := c.Send(packets[at%len(packets)]); err != nil {
					return err
				}
				sent.Add(1)
			}
			return nil
		})
	}
	err := senders.Wait()
	return int(sent.Load()), err
}

// FloodFor is Flood for a time.
func (c *Cable) FloodFor(ctx context.Context, packets [][]byte, rate int, d time.Duration) (sent int, err error) {
	limited, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	sent, err = c.Flood(limited, packets, rate)
	return sent, errors.Join(err, ctx.Err())
}
