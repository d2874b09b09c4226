package events

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"knockkit/internal/kernel/claim"
	"knockkit/internal/rights"
)

// socketName is the abstract Unix socket of the process that listens to the NFLOG group. It belongs
// to the network namespace, and goes with the process.
const socketName = "@knockd/events"

// maxClients is how many may read from the socket at once.
const maxClients = 32

// serve hands the hub's items to root and our own user, when they connect, one line of JSON each,
// until the context ends, and passes on the acts that they tell. It fails at once when it cannot have
// the name: a [*claim.NameError].
func serve(ctx context.Context, h *hub, acts chan<- told) error {
	l, err := claim.TakeName(socketName)
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() { l.Close() })
	go func() {
		slots := make(chan struct{}, maxClients)
		rights.Accept(ctx, l, func(c *net.UnixConn, peer rights.Peer) {
			select {
			case slots <- struct{}{}:
				go func() {
					defer func() { <-slots }()
					hand(ctx, h, c, peer, acts)
				}()
			default:
				c.Close()
			}
		})
	}()
	return nil
}

// hand writes the hub's items to one reader, until it closes its end, and passes on the acts that it
// has told by then.
func hand(ctx context.Context, h *hub, c *net.UnixConn, peer rights.Peer, acts chan<- told) {
	defer c.Close()
	w := h.WatchAll() // the reader has a hub of its own
	defer w.Stop()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	go func() {
		accept(ctx, c, peer, acts)
		w.Stop()
	}()
	pulse := time.NewTicker(helloEvery)
	defer pulse.Stop()
	out := json.NewEncoder(c)
	err := out.Encode(hello{socketName})
	for err == nil {
		select {
		case i, ok := <-w.C:
			if !ok {
				return
			}
			err = out.Encode(i)
		case <-pulse.C:
			err = out.Encode(hello{socketName})
		}
	}
}

// hello is the first line: a reader that has it misses no later item. It comes again and again, so
// that a process that hangs can be told from one that has nothing to say.
type hello struct {
	Hello string `json:"hello"`
}

// How often it comes, and after how long without one a reader gives up.
const (
	helloEvery = 2 * time.Second
	helloLate  = 3 * helloEvery
)

// client reads notices that another process serves.
type client struct {
	conn *net.UnixConn
	in   *bufio.Reader
	PID  int // of the process that serves
}

// helloLimit is how long the serving process may take for its first line. A process that was stopped
// (Ctrl-Z) or hangs still has the name and the group; nobody waits for it for ever.
const helloLimit = 2 * time.Second

// connect connects to the process that serves, if it is trusted.
func connect(ctx context.Context) (*client, error) {
	ctx, cancel := context.WithTimeout(ctx, helloLimit)
	defer cancel()
	conn, peer, err := rights.Dial(ctx, socketName)
	if err != nil {
		return nil, err
	}
	c := &client{conn, bufio.NewReaderSize(conn, 64<<10), peer.PID}
	stop := context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Now()) })
	defer stop()
	if _, err := c.in.ReadSlice('\n'); err != nil { // hello
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = errors.New("it does not answer: was it stopped?")
		}
		return nil, errors.Join(fmt.Errorf("process %d serves no events: %w", c.PID, err), conn.Close())
	}
	return c, nil
}

// next returns the next item. The error is io.EOF when the other process is gone.
func (c *client) next() (Item, error) {
	for {
		if err := c.conn.SetReadDeadline(time.Now().Add(helloLate)); err != nil {
			return Item{}, err
		}
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return Item{}, err
		}
		if bytes.HasPrefix(line, []byte(`{"hello"`)) {
			continue
		}
		var i Item
		if err := json.Unmarshal(line, &i); err != nil {
			return Item{}, fmt.Errorf("process %d serves no events: %w", c.PID, err)
		}
		return i, nil
	}
}
