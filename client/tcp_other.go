//go:build !unix

package client

import (
	"context"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// tcpFlight is a connection that is being made.
type tcpFlight struct {
	cancel context.CancelFunc
	done   chan dialed
}

type dialed struct {
	conn net.Conn
	err  error
}

// connect sends one SYN: it returns when the dialer is about to, as near as
// net lets it see. With abort an accepted connection is reset instead of closed.
func (n network) connect(to netip.AddrPort, abort bool) (flight, error) {
	ctx, cancel := context.WithTimeout(context.Background(), lifetime)
	f := &tcpFlight{cancel, make(chan dialed, 1)}
	leaving := make(chan struct{}, 1)
	d := n.dialer("tcp")
	d.Control = func(family, address string, c syscall.RawConn) error {
		if err := n.control(family, address, c); err != nil {
			return err
		}
		leaving <- struct{}{}
		return nil
	}
	go func() {
		conn, err := d.DialContext(ctx, "tcp", to.String())
		if tcp, ok := conn.(*net.TCPConn); ok && abort {
			_ = tcp.SetLinger(0)
		}
		f.done <- dialed{conn, err}
	}()
	select {
	case <-leaving:
		return f, nil
	case r := <-f.done:
		cancel()
		if reply, sent := replyOf(r.err); sent {
			return landed(reply), nil
		}
		return nil, r.err
	}
}

func (f *tcpFlight) wait(ctx context.Context, until time.Time) Reply {
	stop := context.AfterFunc(ctx, f.cancel)
	defer stop()
	timer := time.AfterFunc(time.Until(until), f.cancel)
	defer timer.Stop()
	defer f.cancel()
	r := <-f.done
	if r.err != nil {
		reply, _ := replyOf(r.err)
		return reply
	}
	r.conn.Close()
	return Accepted
}
