package node

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"knockkit/server/fleet"
)

// Node is this process as a node of a fleet.
type Node struct {
	config   fleet.Config
	seals    []*seals
	buckets  []*bucket
	ids      []*identity
	presence *presence
	door     *door
	batches  chan fleet.Batch
	client   atomic.Pointer[nats.Conn] // nil: there is none
	engine   atomic.Pointer[engine]    // of this node; nil: it does not run
	forged   atomic.Uint64             // texts that no node has told

	mu     sync.Mutex
	queue  []fleet.Batch
	some   chan struct{} // something is in the queue; one is enough
	failed error         // why there is no connection yet
}

// New returns a node. Nothing runs before Run.
func New(c fleet.Config) (*Node, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	n := &Node{config: c, presence: newPresence(&c), batches: make(chan fleet.Batch), some: make(chan struct{}, 1)}
	copies, foreign := min(mostCopies, len(c.Nodes)), len(c.NATS) > 0
	if foreign {
		copies = mostCopies
	}
	for i, secret := range c.Secrets {
		s := newSeals(c.Name, secret)
		id, err := newIdentity(s)
		if err != nil {
			return nil, err
		}
		n.seals, n.ids = append(n.seals, s), append(n.ids, id)
		n.buckets = append(n.buckets, newBucket(i, s, copies, foreign, c.Log, n.take))
	}
	n.presence.returned = n.returned
	n.door = &door{config: serverConfig(n.ids), log: c.Log, nodes: networks(c.Nodes)}
	return n, nil
}

// Config returns what the node was made with.
func (n *Node) Config() fleet.Config { return n.config }

// Put stores a text for an ID until a time, the zero Time for one without end, or with nil deletes what is
// stored. It does not wait: the text is stored when the store answers, unless the record has changed since
// Batches told of it. Then that change comes, and the caller decides again.
func (n *Node) Put(id ID, value []byte, until time.Time) {
	for _, b := range n.buckets {
		b.put(id, value, until)
	}
}

// Batches are what the store tells.
func (n *Node) Batches() <-chan fleet.Batch { return n.batches }

// Again has the store tell again all that it has.
func (n *Node) Again() {
	for _, b := range n.buckets {
		signal(b.again)
	}
}

// Offset is the fleet's time minus that of this machine's clock; apart says that they are too far apart for
// this node to take part.
func (n *Node) Offset() (d time.Duration, apart bool) {
	d = n.presence.offset()
	return d, d.Abs() > fleet.MaxApart
}

// Health says how the node gets along.
func (n *Node) Health() fleet.Health {
	h := fleet.Health{Connected: true, Forged: n.forged.Load(), Strangers: n.door.strangers(), Peers: n.presence.list()}
	for _, b := range n.buckets {
		b.mu.Lock()
		h.Connected = h.Connected && b.connected
		if b.since.After(h.Since) {
			h.Since = b.since
		}
		h.Waiting, h.Forged = max(h.Waiting, len(b.pending)), h.Forged+b.forged
		if b.why != nil {
			h.Why = trimmed(b.why)
		}
		b.mu.Unlock()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.failed != nil {
		h.Why = trimmed(n.failed)
	}
	return h
}

// take queues what a bucket tells.
func (n *Node) take(b fleet.Batch) {
	n.mu.Lock()
	n.queue = append(n.queue, b)
	n.mu.Unlock()
	signal(n.some)
}

// pump hands over what is queued, as few batches as the caller is slow.
func (n *Node) pump(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.some:
		}
		for ctx.Err() == nil {
			n.mu.Lock()
			b := n.next()
			n.mu.Unlock()
			if !b.Again && !b.CaughtUp && len(b.Records) == 0 && b.Returned.IsZero() {
				break
			}
			select {
			case n.batches <- b:
			case <-ctx.Done():
			}
		}
	}
}

// next joins what is queued, up to where something begins or is complete.
func (n *Node) next() (all fleet.Batch) {
	for i, b := range n.queue {
		if b.Again && (i > 0 && len(all.Records) > 0) {
			n.queue = n.queue[i:]
			return all
		}
		all.Again = all.Again || b.Again
		all.Records = append(all.Records, b.Records...)
		if all.Returned.IsZero() || !b.Returned.IsZero() && b.Returned.Before(all.Returned) {
			all.Returned = b.Returned
		}
		if b.CaughtUp {
			all.CaughtUp = true
			n.queue = n.queue[i+1:]
			return all
		}
	}
	n.queue = nil
	return all
}

// retry is how soon is tried again what this machine did not allow.
const retry = 500 * time.Millisecond

// Run takes part until the context ends. A network that is not there is no error: it is tried again.
func (n *Node) Run(ctx context.Context) error {
	var group sync.WaitGroup
	defer group.Wait()
	group.Go(func() { n.pump(ctx) })
	for ctx.Err() == nil {
		err := n.join(ctx)
		if ctx.Err() != nil {
			break
		}
		n.mu.Lock()
		changed := n.failed == nil || err == nil || n.failed.Error() != err.Error()
		n.failed = err
		n.mu.Unlock()
		if changed {
			n.config.Log.Warn("fleet: not connected: this host works alone", "err", err)
		}
		pause(ctx, retry)
	}
	return nil
}

// join starts the engine, if this node has one, connects, and exchanges until the context ends.
func (n *Node) join(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	connected, disconnect := context.WithCancel(context.WithoutCancel(ctx)) // until the engine has handed over
	var group sync.WaitGroup
	defer group.Wait()
	defer disconnect()
	defer cancel()
	options := []nats.Option{nats.Name(n.config.Node), nats.MaxReconnects(-1), nats.ReconnectWait(500 * time.Millisecond), nats.ReconnectJitter(100*time.Millisecond, 100*time.Millisecond),
		nats.Timeout(dialTime), nats.PingInterval(2 * time.Second), nats.MaxPingsOutstanding(2), nats.RetryOnFailedConnect(true), nats.IgnoreDiscoveredServers(),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { n.config.Log.Debug("fleet: client", "err", err) })}
	dial := &dialer{identities: n.ids}
	var servers string
	switch c := &n.config; {
	case len(c.NATS) > 0:
		servers = strings.Join(c.NATS, ",")
		if c.Credentials != "" {
			options = append(options, nats.UserCredentials(c.Credentials))
		}
		if c.CA != "" {
			options = append(options, nats.RootCAs(c.CA))
		}
	case c.Listen != "":
		e, err := n.listen(connected, &group, dial)
		if err != nil {
			return err
		}
		n.engine.Store(e)
		defer e.stop()
		defer n.engine.Store(nil)
		options = append(options, nats.InProcessServer(e.server), nats.UserInfo(n.seals[0].account()))
	default:
		servers = strings.Join(prefixed(c.Nodes), ",")
		options = append(options, nats.SetCustomDialer(toNodes{ctx, dial}), nats.UserInfoHandler(func() (user, password string) { return n.seals[dial.last.Load()].account() }))
	}
	nc, err := nats.Connect(servers, options...)
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(2*putsAtOnce))
	if err != nil {
		return err
	}
	n.mu.Lock()
	n.failed = nil
	n.mu.Unlock()
	for _, s := range n.seals {
		if err := n.listenTo(nc, s); err != nil {
			return err
		}
	}
	n.client.Store(nc)
	defer n.client.Store(nil)
	group.Go(func() { n.presence.run(ctx, nc, n.seals) })
	for _, b := range n.buckets {
		group.Go(func() { b.run(ctx, js) })
	}
	<-ctx.Done()
	return ctx.Err()
}

// listen starts the engine, and opens the port.
func (n *Node) listen(ctx context.Context, group *sync.WaitGroup, dial *dialer) (*engine, error) {
	c := &n.config
	port, err := (&net.ListenConfig{}).Listen(ctx, "tcp", c.Listen)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { _ = port.Close() })
	var tunnels []string
	for _, node := range c.Nodes {
		if node == c.Listen {
			continue
		}
		address, err := tunnel(ctx, group, func(ctx context.Context) (net.Conn, error) { return dial.dial(ctx, node, forRoute) }, c.Log)
		if err != nil {
			return nil, errors.Join(err, port.Close())
		}
		tunnels = append(tunnels, address)
	}
	e, err := startEngine(c, n.seals, tunnels)
	if err != nil {
		return nil, errors.Join(err, port.Close())
	}
	n.door.to = map[string]func(context.Context) (net.Conn, error){forRoute: e.route, forClient: e.client}
	group.Go(func() { _ = n.door.serve(ctx, port) })
	return e, nil
}

// toNodes dials nodes for the client of NATS.
type toNodes struct {
	ctx  context.Context
	dial *dialer
}

// Dial implements [nats.CustomDialer].
func (d toNodes) Dial(_, address string) (net.Conn, error) {
	return d.dial.dial(d.ctx, address, forClient)
}

// SkipTLSHandshake says that what Dial returns is secure already.
func (toNodes) SkipTLSHandshake() bool { return true }

func prefixed(nodes []string) (all []string) {
	for _, node := range nodes {
		all = append(all, "nats://"+node)
	}
	return all
}
