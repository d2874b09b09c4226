package client

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"knockkit/protocol"
)

// Dialer connects to ports behind a gate: it knocks when it knows of no lease,
// then dials. Its zero value with a profile is ready to use; it must not be
// copied after that. Methods may be called by several goroutines at once.
//
// A Dialer takes a lease for valid as long as the profile grants it. When a
// connection does not come about all the same (the lease was revoked, the
// server was started again, this machine has another address now), it knocks
// once more and dials again.
type Dialer struct {
	// Target says what to knock on. Host is used for addresses without one, as
	// ":3306"; else the host that is dialled is the one that is knocked on.
	Target Target

	// Dial makes the connections; nil: as [net.Dialer] does, from the target's
	// Source and over its Interface, which a Dial of your own has to see to
	// itself. It is given a numeric address.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// Turns, if set, is shared with other Dialers, whose knocks on a host then wait for each other.
	Turns *Turns

	// Told, if set, is called when a knock begins and when it has ended, by the goroutine that knocks.
	Told func(Knocking)

	wire    wire        // nil: the network of this machine
	indexes IndexMemory // where the target has none

	mu    sync.Mutex
	hosts map[string]*knownHost // by canonical host
}

// DialContext connects to address, HOST:PORT, on "tcp", "tcp4", "tcp6", "udp",
// "udp4" or "udp6". Dials that wait for the same host share one knock, which
// ends at once when the last of them is cancelled.
//
// Errors: those of [Knock], a [*ProfileError] for a port that the profile does
// not open, the context's, and those of the dial itself.
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	to, err := d.destination(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	g := d.known(to.host)
	w := want{family: to.family}
	if d.Target.Profile.Once {
		return d.dialOnce(ctx, g, to)
	}
	for n := 0; ; n++ {
		ls, fresh, err := g.need(ctx, w)
		if err != nil {
			return nil, err
		}
		// A lease that was just checked is valid: if the connection fails now, the gate is
		// not the cause. One that could not be checked is checked by this dial.
		final := fresh && (ls[0].checked || n >= d.Target.Profile.Client.Attempts-1)
		conn, err := g.beside(ctx, func() (net.Conn, error) { return d.dialAny(ctx, g, to, ls, final) })
		if err == nil || final || ctx.Err() != nil {
			return conn, err
		}
		for _, l := range ls { // they did not let us in
			w.after = max(w.after, l.number)
		}
	}
}

// dialOnce knocks for every connection: each uses its lease up. Others wait,
// for their knocks would be events in the middle of ours.
func (d *Dialer) dialOnce(ctx context.Context, g *knownHost, to destination) (net.Conn, error) {
	for n := 0; ; n++ {
		conn, err := g.alone(ctx, func() (net.Conn, error) {
			ls, err := g.obtain(ctx, want{family: to.family}, NoLease)
			if err != nil {
				return nil, err
			}
			return d.dialAny(ctx, g, to, ls, n >= d.Target.Profile.Client.Attempts-1)
		})
		if err == nil || ctx.Err() != nil || n >= d.Target.Profile.Client.Attempts-1 {
			return conn, err
		}
	}
}

// Keep knocks on the host again before its lease ends, for as long as ctx
// lives: connections that end with their lease (`cut`) need that. It waits for
// the first lease to come from a dial, and knocks on the address that opened
// then, since the connections are there. failed, if not nil, is told of knocks
// that did not open; Keep then tries again after a pause. host is as in
// DialContext, "" for the target's.
func (d *Dialer) Keep(ctx context.Context, host string, failed func(error)) {
	if host == "" {
		host = d.Target.Host
	}
	g := d.known(host)
	for ctx.Err() == nil {
		ls, next, changed := g.due()
		if len(ls) == 0 {
			sleepOrChange(ctx, next, changed)
			continue
		}
		for _, l := range ls {
			_, _, err := g.need(ctx, want{family: l.family(), addr: l.addr, after: l.number})
			if err == nil || ctx.Err() != nil {
				continue
			}
			if failed != nil {
				failed(err)
			}
			sleepOrChange(ctx, time.After(keepPause), changed)
		}
	}
}

// keepPause is the time from a failed knock of Keep to its next.
const keepPause = 5 * time.Second

// sleepOrChange returns when the leases changed or the time came. A nil channel for the time is
// one that never does.
func sleepOrChange(ctx context.Context, at <-chan time.Time, changed <-chan struct{}) {
	select {
	case <-changed:
	case <-at:
	case <-ctx.Done():
	}
}

func (d *Dialer) known(host string) *knownHost {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.hosts == nil {
		d.hosts = map[string]*knownHost{}
	}
	key := CanonicalHost(host)
	if d.hosts[key] == nil {
		t := d.Target
		t.Host = host
		if t.Indexes == nil {
			t.Indexes = &d.indexes
		}
		turns := d.Turns
		if turns == nil {
			turns = new(Turns)
		}
		d.hosts[key] = &knownHost{target: t, wire: d.wire, told: d.Told, turn: turns.of(host), changed: make(chan struct{})}
	}
	return d.hosts[key]
}

// destination is an address as it was asked for.
type destination struct {
	network string
	host    string
	port    uint16
	family  protocol.Family
}

func (d *Dialer) destination(ctx context.Context, network, address string) (destination, error) {
	to := destination{network: network}
	proto := protocol.TCP
	switch network {
	case "udp", "udp4", "udp6":
		proto = protocol.UDP
	case "tcp", "tcp4", "tcp6":
	default:
		return to, fmt.Errorf("dial %s: %w", address, net.UnknownNetworkError(network))
	}
	switch {
	case strings.HasSuffix(network, "4"):
		to.family = protocol.IPv4
	case strings.HasSuffix(network, "6"):
		to.family = protocol.IPv6
	}
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return to, err
	}
	port, err := net.DefaultResolver.LookupPort(ctx, network, service)
	if err != nil {
		return to, err
	}
	to.host, to.port = host, uint16(port)
	if host == "" {
		to.host = d.Target.Host
	}
	if k := (protocol.Knock{Proto: proto, Port: to.port}); !d.Target.Profile.Opens(k) {
		return to, &ProfileError{d.Target.Profile.Name, "does not open " + k.String()}
	}
	if f := d.Target.Family; f != protocol.Both && to.family != protocol.Both && f != to.family {
		return to, &ProfileError{d.Target.Profile.Name, fmt.Sprintf("is knocked on over %s here, not over %s", f.Label(), to.family.Label())}
	}
	return to, nil
}

// familyDelay is how long one address may be silent before the other is dialled
// too (RFC 8305, section 5).
const familyDelay = 250 * time.Millisecond

// dialAny dials the addresses that opened, beginning with the best, and returns
// the first connection; the other dial has ended then. There is more than one
// only where no check has told which address opens first. Dials that are not
// final are given up when nothing comes back in the usual time.
func (d *Dialer) dialAny(ctx context.Context, g *knownHost, to destination, ls []lease, final bool) (net.Conn, error) {
	g.usedFirst(ls)
	var conn net.Conn
	var last error
	firstSuccess(ctx, len(ls), familyDelay,
		func(ctx context.Context, i int) (net.Conn, error) {
			limit := window(ls[i].rtt)
			if final {
				limit = 0
			}
			return d.dial(ctx, to, ls[i].addr, limit)
		},
		func(i int, c net.Conn, err error, late bool) {
			switch {
			case err != nil && !late:
				last = err
			case err == nil && late:
				c.Close()
			case err == nil:
				conn, last = c, nil
				g.used(ls[i])
			}
		})
	return conn, last
}

// dial gives up after limit, which is below the time after which the kernel
// sends a SYN again: that one would come in the middle of the next knock.
func (d *Dialer) dial(ctx context.Context, to destination, addr netip.Addr, limit time.Duration) (net.Conn, error) {
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	dial := d.Dial
	if dial == nil {
		n, err := d.Target.leaving()
		if err != nil {
			return nil, err
		}
		dial = n.dialer(to.network).DialContext
	}
	return dial(ctx, to.network, netip.AddrPortFrom(addr, to.port).String())
}
