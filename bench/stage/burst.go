//go:build linux

package stage

import (
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"knockkit/internal/lab"
)

// Burst is how much is injected at a time.
type Burst struct {
	WarmUp int           // packets before the clock starts
	Limit  time.Duration // the burst ends after this much processor time
}

// lookEvery is how many packets pass between two looks at the clock.
const lookEvery = 128

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
		for end := min(done+lookEvery, len(packets)); done < end; done++ {
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
