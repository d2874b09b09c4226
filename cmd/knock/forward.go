package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"knockkit/internal/command"
	"knockkit/internal/say"
)

func forwardCommand() *cli.Command {
	return &cli.Command{
		Name:      "forward",
		Usage:     "listen here, and knock when a connection comes",
		UsageText: "knock forward PROFILE[@HOST] [[ADDR:]PORT]",
		Description: `Listens on 127.0.0.1, on the port that the profile opens or on another one, and
carries every connection to the host. It knocks when it knows of no lease, again
when the lease is gone, and renews it while connections are open. Ctrl-C ends it.

   knock forward mysql                  then: mysql -h 127.0.0.1
   knock forward mysql 13306            another port here
   knock forward admin --port 8081      another of the ports that the profile opens`,
		Flags: append(targetFlags(),
			&cli.StringFlag{Name: "port", Usage: "connect to `PORT` of the host"}),
		Action: forwardAction,
	}
}

func forwardAction(c *cli.Context) error {
	if noProfile(c) {
		return command.NoArgument(c)
	}
	p, rest := choose(c)
	if len(rest) > 1 {
		return command.Usagef("knock forward PROFILE 127.0.0.1:13306", "forward takes a profile and where to listen")
	}
	tn, err := newTunnel(c, p, "", c.String("port"))
	if err != nil {
		return err
	}
	on, err := listenAddress(strings.Join(rest, ""), tn.port)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", on.String())
	if err != nil {
		return &command.Error{Code: command.Failed, Err: err, Hint: "choose another port: knock forward " + p.again() + " PORT"}
	}
	words := printer(c)
	if !on.Addr().IsLoopback() {
		words.Warning("everyone who reaches %s can use the gate", l.Addr())
	}
	words.Note("%s listens for %s; Ctrl-C ends it", l.Addr(), tn.address())
	ctx, stop := interruptible(c.Context)
	defer stop()
	f := &forwarder{tunnel: tn, words: words}
	return f.run(ctx, l)
}

// listenAddress reads PORT, ADDR:PORT or nothing.
func listenAddress(text string, port uint16) (netip.AddrPort, error) {
	home := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	if text == "" {
		return netip.AddrPortFrom(home, port), nil
	}
	if n, err := strconv.ParseUint(text, 10, 16); err == nil {
		return netip.AddrPortFrom(home, uint16(n)), nil
	}
	if on, err := netip.ParseAddrPort(text); err == nil {
		return on, nil
	}
	return netip.AddrPort{}, command.Usagef("as 13306, 127.0.0.1:13306 or [::1]:13306", "bad address to listen on %q", text)
}

// forwarder carries the connections of one listener.
type forwarder struct {
	*tunnel
	words *say.Printer
	say   sync.Mutex // held while writing words
	conns sync.WaitGroup

	mu   sync.Mutex
	open int                // connections that are carried
	rest context.CancelFunc // ends the keeping of the lease; nil: none is kept
}

// run accepts until ctx ends, then closes what is open. It returns nil then.
func (f *forwarder) run(ctx context.Context, l net.Listener) error {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	carried, cancel := context.WithCancel(ctx)
	defer f.conns.Wait()
	defer cancel()
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		if err != nil { // out of descriptors, or the client went away: others may come
			f.warn("accept: %s", err)
			pause(ctx)
			continue
		}
		f.conns.Go(func() { f.carry(carried, conn.(*net.TCPConn)) })
	}
}

// carry serves one connection.
func (f *forwarder) carry(ctx context.Context, near *net.TCPConn) {
	defer near.Close()
	far, err := f.dialer.DialContext(ctx, "tcp", f.address())
	if err != nil {
		_ = near.SetLinger(0) // a reset says that there is nobody
		if ctx.Err() == nil {
			f.warn("%s", err)
		}
		return
	}
	defer far.Close()
	f.begin(ctx)
	defer f.end()
	// Both ends are closed when ctx ends, which ends the relay.
	stop := context.AfterFunc(ctx, func() { near.Close(); far.Close() })
	defer stop()
	if err := relay(near, far.(*net.TCPConn)); err != nil && ctx.Err() == nil {
		f.warn("%s: %s", near.RemoteAddr(), err)
	}
}

// begin keeps the lease from the first connection on: an idle forwarder sends
// nothing.
func (f *forwarder) begin(ctx context.Context) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open++
	if f.open > 1 || f.profile.Once {
		return
	}
	keep, rest := context.WithCancel(ctx)
	f.rest = rest
	f.conns.Go(func() {
		f.dialer.Keep(keep, f.host, func(err error) { f.warn("the lease was not renewed: %s", err) })
	})
}

func (f *forwarder) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open--
	if f.open == 0 && f.rest != nil {
		f.rest()
		f.rest = nil
	}
}

func (f *forwarder) warn(format string, args ...any) {
	f.say.Lock()
	defer f.say.Unlock()
	f.words.Warning("%s", fmt.Sprintf(format, args...))
}

// pause waits a moment, so that an error that stays is not met in a busy loop.
func pause(ctx context.Context) {
	select {
	case <-time.After(100 * time.Millisecond):
	case <-ctx.Done():
	}
}
