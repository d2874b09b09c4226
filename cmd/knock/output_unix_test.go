//go:build unix

package main

import (
	"context"
	"io"
	"strings"
	"sync"
	"testing"
	"time"
)

// newTestOutput returns an output with what it writes.
func newTestOutput(t *testing.T, to io.Writer) *output {
	t.Helper()
	o, err := newOutput(&lineWriter{mu: new(sync.Mutex), to: to})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.w.Close() })
	return o
}

// TestWhatACommandWroteIsReadHoweverSlowTheReaderOfOursIs: a pager may stop reading for longer than
// what the command left behind is waited for.
func TestWhatACommandWroteIsReadHoweverSlowTheReaderOfOursIs(t *testing.T) {
	pager, out := io.Pipe()
	o := newTestOutput(t, out)
	text := strings.Repeat(strings.Repeat("x", 1023)+"\n", 48) // more than one read, and less than a pipe has room for
	if _, err := io.WriteString(o.w, text); err != nil {
		t.Fatal(err)
	}
	o.endAt(time.Now().Add(-time.Hour)) // and the pipe is left open
	var read strings.Builder
	go func() {
		finish(t.Context(), []*output{o})
		out.Close()
	}()
	if _, err := io.Copy(&read, pager); err != nil || read.String() != text {
		t.Errorf("%d bytes, error %v, want %d", read.Len(), err, len(text))
	}
}

func TestASignalEndsTheWaitingForWhatACommandLeftRunning(t *testing.T) {
	var read strings.Builder
	o := newTestOutput(t, &read)
	o.endAt(time.Now().Add(time.Hour))
	if _, err := io.WriteString(o.w, "last"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	finish(ctx, []*output{o})
	if read.String() != "last\n" {
		t.Errorf("read %q", read.String())
	}
}

func TestACommandThatLeftSomethingBehindThatNeverStopsWritingIsOverAllTheSame(t *testing.T) {
	o := newTestOutput(t, io.Discard)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			if _, err := o.w.Write(make([]byte, 4096)); err != nil {
				return
			}
		}
	}()
	o.endAt(time.Now())
	finish(t.Context(), []*output{o})
	<-ended // the pipe is closed
}
