//go:build linux

package stage

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"knockkit/internal/lab"
)

// Cable is a host and a client on one Ethernet. What the client sends is written as
// whole packets, so that each leaves at once and from any source.
type Cable struct {
	Host, Client *lab.Host

	raw  int            // sends IP packets from the client
	tcp  net.PacketConn // sees the TCP packets that come to the client
	port uint16         // on which the host listens
	next int            // the next visitor

	mu      sync.Mutex
	answers map[uint16]time.Time // source port of a visitor → when a SYN+ACK came
	listen  net.Listener
}

// visitors are the client's addresses: each visit comes from another one, so that
// no lease has to be taken back between two of them.
const visitors = 100

func visitor(i int) netip.Addr { return netip.AddrFrom4([4]byte{198, 51, 100, byte(128 + i)}) }

// NewCable makes a host that listens on a TCP port, and a client. The caller closes
// it. The rules are still to be applied.
func NewCable(name string, port uint16) (c *Cable, err error) {
	c = &Cable{raw: -1, port: port, answers: map[uint16]time.Time{}}
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	if c.Host, err = lab.New(name); err != nil {
		return nil, err
	}
	if c.Client, err = lab.New(name + "'s client"); err != nil {
		return nil, err
	}
	if err := lab.Join(c.Host, c.Client); err != nil {
		return nil, err
	}
	if err := c.addresses(); err != nil {
		return nil, err
	}
	if c.listen, err = c.Host.Listen("tcp", net.JoinHostPort("0.0.0.0", portText(port))); err != nil {
		return nil, err
	}
	err = c.Client.Do(func() (err error) {
		// IPPROTO_RAW: what is written has its own IP header.
		c.raw, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("raw socket: %w", err)
	}
	if c.tcp, err = c.Client.ListenPacket("ip4:tcp", "0.0.0.0"); err != nil {
		return nil, err
	}
	go c.read()
	// Both learn each other's Ethernet address now, not in the middle of a visit.
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	conn, err := c.Client.Dial(ctx, "tcp", netip.AddrPortFrom(c.Host.Addr4, port).String())
	if err != nil {
		return nil, err
	}
	return c, conn.Close()
}

// addresses gives the client its visitors, and the host ways to them and to the
// forged sources.
func (c *Cable) addresses() error {
	const nic = "eth0"
	for i := range visitors {
		if err := c.Client.AddAddr(nic, netip.PrefixFrom(visitor(i), 32)); err != nil {
			return err
		}
	}
	behind := []netip.Prefix{netip.PrefixFrom(visitor(0), 25), lab.Forged4()}
	for _, prefix := range behind {
		if err := c.Host.AddRoute(prefix, nic, c.Client.Addr4); err != nil {
			return err
		}
	}
	return nil
}

// Close ends the cable. It may be called on one that is half made.
func (c *Cable) Close() error {
	var errs []error
	if c.tcp != nil {
		errs = append(errs, c.tcp.Close())
	}
	if c.listen != nil {
		errs = append(errs, c.listen.Close())
	}
	if c.raw >= 0 {
		errs = append(errs, unix.Close(c.raw))
		c.raw = -1
	}
	for _, h := range []*lab.Host{c.Client, c.Host} {
		if h != nil {
			errs = append(errs, h.Close())
		}
	}
	return errors.Join(errs...)
}

// Send lets the client send an IP packet to the host. Several goroutines may.
func (c *Cable) Send(packet []byte) error {
	to := unix.SockaddrInet4{Addr: c.Host.Addr4.As4()}
	for {
		err := unix.Sendto(c.raw, packet, 0, &to)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.EPERM):
			return nil // lost on the way, as packets are
		}
		return err
	}
}

// read notes the SYN+ACKs that come to the client, until the cable is closed.
func (c *Cable) read() {
	buf := make([]byte, 2048)
	for {
		n, _, err := c.tcp.ReadFrom(buf) // the IP header is cut off
		if err != nil {
			return
		}
		const synAck = byte(lab.FlagSYN | lab.FlagACK)
		if n < 20 || buf[13]&synAck != synAck {
			continue
		}
		to := uint16(buf[2])<<8 | uint16(buf[3])
		now := time.Now()
		c.mu.Lock()
		if _, known := c.answers[to]; !known {
			c.answers[to] = now
		}
		c.mu.Unlock()
	}
}

func (c *Cable) answered(port uint16) (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, ok := c.answers[port]
	return at, ok
}
