package fleet

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// What the port allows to who has not shown yet that he has the secret.
const (
	handshakeTime  = 5 * time.Second
	maxHandshakes  = 64 // unfinished at once
	maxFromAddress = 8  // of them, from one address
)

// door is the one port that a node has open. It hands each connection of another node to its purpose.
type door struct {
	config *tls.Config
	to     map[string]func(context.Context) (net.Conn, error) // by purpose
	log    *slog.Logger

	mu         sync.Mutex
	handshakes map[string]int // unfinished, by address
	refused    uint64         // connections of strangers
}

// serve accepts connections until the listener is closed, and waits for their ends.
func (d *door) serve(ctx context.Context, l net.Listener) error {
	var group sync.WaitGroup
	defer group.Wait()
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) || ctx.Err() != nil {
			return nil
		}
		if err != nil { // too many files: the next one may be luckier
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		from := addressOf(c)
		if !d.enter(from) {
			_ = c.Close() // it is a stranger's
			continue
		}
		group.Go(func() { d.answer(ctx, c, from) })
	}
}

func addressOf(c net.Conn) string {
	host, _, err := net.SplitHostPort(c.RemoteAddr().String())
	if err != nil {
		return c.RemoteAddr().String()
	}
	return host
}

// enter reports whether one more unfinished handshake is allowed.
func (d *door) enter(from string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if all := len(d.handshakes); d.handshakes[from] >= maxFromAddress || all >= maxHandshakes {
		d.refused++
		return false
	}
	if d.handshakes == nil {
		d.handshakes = map[string]int{}
	}
	d.handshakes[from]++
	return true
}

func (d *door) finished(from string, stranger bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.handshakes[from]--; d.handshakes[from] == 0 {
		delete(d.handshakes, from)
	}
	if stranger {
		d.refused++
	}
}

// strangers counts the connections that were refused.
func (d *door) strangers() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.refused
}

func (d *door) answer(ctx context.Context, c net.Conn, from string) {
	secure := tls.Server(c, d.config)
	shaking, cancel := context.WithTimeout(ctx, handshakeTime)
	err := secure.HandshakeContext(shaking)
	cancel()
	d.finished(from, err != nil)
	if err != nil {
		_ = c.Close()
		d.log.Debug("fleet: a connection was refused", "from", from, "err", err)
		return
	}
	dial := d.to[secure.ConnectionState().NegotiatedProtocol]
	if dial == nil {
		_ = secure.Close()
		return
	}
	inside, err := dial(ctx)
	if err != nil {
		_ = secure.Close()
		d.log.Debug("fleet: the engine does not answer", "err", err)
		return
	}
	splice(ctx, secure, inside)
}

// splice carries bytes between two connections until one of them ends.
func splice(ctx context.Context, a, b net.Conn) {
	end := func() { _ = a.Close(); _ = b.Close() }
	stop := context.AfterFunc(ctx, end)
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(a, b) // its end is the connection's
		end()
	}()
	_, _ = io.Copy(b, a)
	end()
	<-done
}

// tunnel is a listener on the loopback interface, whose connections go to another node's port.
func tunnel(ctx context.Context, group *sync.WaitGroup, dial func(context.Context) (net.Conn, error), log *slog.Logger) (address string, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	context.AfterFunc(ctx, func() { _ = l.Close() })
	group.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			group.Go(func() {
				to, err := dial(ctx)
				if err != nil {
					_ = c.Close()
					log.Debug("fleet: a node is not reached", "err", err)
					return
				}
				splice(ctx, c, to)
			})
		}
	})
	return l.Addr().String(), nil
}

// dialTime is how long a node may take to answer.
const dialTime = 3 * time.Second

// dialer connects to nodes.
type dialer struct {
	identities []*identity
	last       atomic.Int64 // of which secret the last connection was
}

// dial connects to a node for a purpose, with the first of the secrets that the node has too.
func (d *dialer) dial(ctx context.Context, node, purpose string) (net.Conn, error) {
	var failed error
	for i, id := range d.identities {
		c, err := dialAs(ctx, id, node, purpose)
		if err == nil {
			d.last.Store(int64(i))
			return c, nil
		}
		failed = err
		if alert := tls.AlertError(0); !errors.As(err, &alert) { // it is not about the secret
			break
		}
	}
	return nil, failed
}

func dialAs(ctx context.Context, id *identity, node, purpose string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	c, err := (&tls.Dialer{Config: id.to(purpose)}).DialContext(ctx, "tcp", node)
	if err != nil {
		return nil, err
	}
	return c, nil
}
