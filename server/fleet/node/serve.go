package node

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"knockkit/server/fleet"
)

// maxRequest is how many bytes a line of a service may have.
const maxRequest = 1 << 20

// stateEvery is how often a service is told how its node gets along.
const stateEvery = time.Second

// Serve runs a node for a service, which writes a [fleet.Config] and then a [fleet.Request] on each line, and
// reads a [fleet.Output] from each. It ends when the service has closed its end, or is gone.
func Serve(ctx context.Context, from io.Reader, to, log io.Writer) error {
	lines := bufio.NewScanner(from)
	lines.Buffer(make([]byte, 0, 64<<10), maxRequest)
	if !lines.Scan() {
		return errors.New("no configuration came")
	}
	var c fleet.Config
	if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
		return fmt.Errorf("the configuration: %w", err)
	}
	c.Log = slog.New(slog.NewTextHandler(log, logOptions(c.Verbose)))
	n, err := New(c)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var group sync.WaitGroup
	group.Go(func() {
		defer cancel()
		n.speak(ctx, json.NewEncoder(to))
	})
	group.Go(func() {
		defer cancel()
		for lines.Scan() {
			n.accept(lines.Bytes())
		}
	})
	group.Go(func() { err = n.Run(ctx) })
	<-ctx.Done()
	if c, ok := from.(io.Closer); ok { // ends a read that waits
		_ = c.Close()
	}
	group.Wait()
	return err
}

func logOptions(verbose bool) *slog.HandlerOptions {
	o := &slog.HandlerOptions{Level: slog.LevelInfo}
	if verbose {
		o.Level = slog.LevelDebug
	}
	if os.Getenv("JOURNAL_STREAM") != "" { // it adds the time
		o.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}
	}
	return o
}

// speak writes what the store tells and how the node gets along.
func (n *Node) speak(ctx context.Context, to *json.Encoder) {
	every := time.NewTicker(stateEvery)
	defer every.Stop()
	for {
		var e fleet.Output
		select {
		case <-ctx.Done():
			return
		case b := <-n.Batches():
			e.Batch = &b
		case <-every.C:
		}
		s := fleet.NodeState{Health: n.Health()}
		s.Offset, s.Apart = n.Offset()
		if e.State = &s; to.Encode(e) != nil {
			return // the service is gone
		}
	}
}

// accept does what a line asks for. One that asks for something of a later version does nothing.
func (n *Node) accept(line []byte) {
	var r fleet.Request
	if json.Unmarshal(line, &r) != nil {
		return
	}
	if t := r.Put; t != nil {
		n.Put(t.ID, t.Value, t.Until)
	}
	if t := r.Tell; t != nil {
		n.Tell(t.ID, t.Value)
	}
	if r.Again {
		n.Again()
	}
}
