package node

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// What the port allows to who has not shown yet that he has the secret.
const (
	handshakeTime  = 5 * time.Second
	maxHandshakes  = 64 // unfinished at once, beside those from the addresses of nodes
	maxFromAddress = 8  // unfinished at once, from one address
)

// door is the one port that a node has open. It hands each connection of another node to its purpose.
type door struct {
	config *tls.Config
	to     map[string]func(context.Context) (net.Conn, error) // by purpose
	log    *slog.Logger

	nodes map[string]bool // their addresses: strangers take no room of theirs

	mu         sync.Mutex
	handshakes []*handshake // unfinished, the oldest first
	refused    uint64       // connections of strangers
}

// handshake is a connection of somebody who has not shown yet that he has the secret.
type handshake struct {
	from string
	end  context.CancelFunc
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
		shaking, h := d.enter(ctx, addressOf(c))
		group.Go(func() { d.answer(ctx, c, shaking, h) })
	}
}

// addressOf returns where a connection comes from: of IPv6 the network, since a host has all of its addresses.
func addressOf(c net.Conn) string { return network(c.RemoteAddr().String()) }

func network(address string) string {
	from, err := netip.ParseAddrPort(address)
	if err != nil {
		return address
	}
	ip := from.Addr().Unmap().WithZone("")
	if ip.Is4() {
		return ip.String()
	}
	prefix, _ := ip.Prefix(64) // it has as many bits
	return prefix.String()
}

// networks are those of addresses.
func networks(addresses []string) map[string]bool {
	all := map[string]bool{}
	for _, a := range addresses {
		all[network(a)] = true
	}
	return all
}

// enter begins a handshake. Where there is no room the oldest ends: a node's takes milliseconds, so the
// oldest is a stranger's.
func (d *door) enter(ctx context.Context, from string) (context.Context, *handshake) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTime)
	h := &handshake{from, cancel}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.limit(maxFromAddress, func(other *handshake) bool { return other.from == from })
	if !d.nodes[from] {
		d.limit(maxHandshakes, func(other *handshake) bool { return !d.nodes[other.from] })
	}
	d.handshakes = append(d.handshakes, h)
	return ctx, h
}

// limit ends the oldest of some handshakes where one more would be too many.
func (d *door) limit(most int, of func(*handshake) bool) {
	oldest, count := -1, 0
	for i, h := range d.handshakes {
		if !of(h) {
			continue
		}
		if count++; oldest < 0 {
			oldest = i
		}
	}
	if count >= most {
		d.handshakes[oldest].end()
		d.handshakes = slices.Delete(d.handshakes, oldest, oldest+1)
	}
}

func (d *door) finished(h *handshake, stranger bool) {
	h.end()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.handshakes = slices.DeleteFunc(d.handshakes, func(other *handshake) bool { return other == h })
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

func (d *door) answer(ctx context.Context, c net.Conn, shaking context.Context, h *handshake) {
	secure := tls.Server(c, d.config)
	err := secure.HandshakeContext(shaking)
	d.finished(h, err != nil)
	if err != nil {
		_ = c.Close()
		d.log.Debug("fleet: a connection was refused", "from", h.from, "err", err)
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
		if e := new(net.OpError); errors.As(err, &e) && e.Op == "dial" { // it is not about the secret
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
