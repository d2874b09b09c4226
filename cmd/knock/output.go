package main

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"
)

// afterEnd is how long what a command leaves running is still read. To wait for its end, as exec
// does, would be to wait for a tunnel of "ssh -f".
const afterEnd = time.Second

// unread is how long a read that finds nothing takes after that. What the command itself wrote is
// in the pipe by then, and is read however slow our own standard output is.
const unread = 10 * time.Millisecond

// pipeSize is how much a pipe has room for: when the time is over, no more than that is of the
// command itself.
const pipeSize = 64 << 10

// output carries what a command writes through a pipe, as whole lines.
type output struct {
	r, w  *os.File
	lines *lineWriter
	done  chan struct{} // closed when nothing is read any more

	mu    sync.Mutex
	until time.Time // zero: to the end of the pipe
}

func newOutput(lines *lineWriter) (*output, error) {
	o := &output{lines: lines, done: make(chan struct{})}
	var err error
	if o.r, o.w, err = os.Pipe(); err != nil {
		return nil, err
	}
	go o.copy()
	return o, nil
}

// copy reads until every writer has closed the pipe, or until the time is over and nothing comes.
func (o *output) copy() {
	defer close(o.done)
	buf := make([]byte, 32<<10)
	for late := 0; late < pipeSize; {
		until := o.limit()
		n, err := o.r.Read(buf)
		_, _ = o.lines.Write(buf[:n]) // there is nobody to tell
		if err != nil && (o.over(until) || !errors.Is(err, os.ErrDeadlineExceeded)) {
			return
		}
		if !until.IsZero() && time.Now().After(until) {
			late += n
		}
	}
}

// limit bounds the next read, if there is a time for the end, which it returns.
func (o *output) limit() time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.until.IsZero() {
		return o.until
	}
	at := o.until
	if soon := time.Now().Add(unread); soon.After(at) {
		at = soon
	}
	_ = o.r.SetReadDeadline(at) // Windows has none, and no "ssh -f" either
	return o.until
}

// over reports whether a read with this limit waited for as long as it should: it was not woken
// because of another time.
func (o *output) over(until time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return !until.IsZero() && until.Equal(o.until)
}

// endAt sets the time for the end, and wakes a read that waits.
func (o *output) endAt(until time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.until = until
	_ = o.r.SetReadDeadline(time.Unix(1, 0))
}

// finish reads the rest after the command has ended, for a moment longer if something still has
// the pipe, unless ctx ends.
func finish(ctx context.Context, all []*output) {
	end := func(until time.Time) {
		for _, o := range all {
			o.endAt(until)
		}
	}
	if ctx.Err() == nil {
		end(time.Now().Add(afterEnd))
	}
	stop := context.AfterFunc(ctx, func() { end(time.Now()) })
	defer stop()
	for _, o := range all {
		<-o.done
		o.r.Close()
		o.lines.flush()
	}
}
