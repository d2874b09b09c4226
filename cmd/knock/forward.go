package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"knockkit/client"
	"knockkit/internal/command"
	"knockkit/internal/say"
)

func forwardCommand() *cli.Command {
	return &cli.Command{
		Name:  "forward",
		Usage: "listen here, and knock when a connection comes",
		UsageText: `knock forward PROFILE[@HOST][:[ADDR:]PORT]...
knock forward PROFILE[@HOST] [ADDR:]PORT`,
		Description: `Listens on 127.0.0.1, on the port that the profile opens or on another one, and
carries every connection to the host. It knocks when it knows of no lease, again
when the lease is gone, and renews it while connections are open; it says so each
time. Ctrl-C ends it.

   knock forward mysql                  then: mysql -h 127.0.0.1
   knock forward mysql 13306            another port here
   knock forward mysql redis:16379      several at once, one on another port
   knock forward admin --port 8081      another of the ports that the profile opens`,
		Flags: append(tunnelFlags(),
			&cli.StringFlag{Name: "port", Usage: "connect to `PORT` of the host"}),
		Action: forwardAction,
	}
}

// forwarding is a profile, and where to listen for it: "", PORT or ADDR:PORT.
type forwarding struct {
	profile chosen
	on      string
}

// again returns the command that listens for the same on another port.
func (f forwarding) again(port string) string {
	p := f.profile
	switch {
	case p.typed == "":
		return "knock forward " + p.again() + " " + port
	case strings.Contains(p.host, ":") && !strings.HasPrefix(p.host, "["):
		return "knock forward " + p.with("["+p.host+"]") + ":" + port
	}
	return "knock forward " + p.again() + ":" + port
}

// forwardings reads the arguments. Two of them may be a profile and where to listen, which no
// name of a profile looks like.
func forwardings(c *cli.Context) ([]forwarding, error) {
	args := c.Args().Slice()
	if c.IsSet("profile") {
		p, rest := choose(c)
		if len(rest) > 1 {
			return nil, command.Usagef("knock forward -p FILE 127.0.0.1:13306", "forward takes one profile with --profile, and where to listen")
		}
		return []forwarding{{p, strings.Join(rest, "")}}, nil
	}
	if len(args) == 2 && strings.Trim(args[1], "0123456789") == "" && !isListen(args[1]) {
		return nil, command.Usagef("a port is a number up to 65535", "bad port %q", args[1])
	}
	if len(args) == 2 && isListen(args[1]) {
		return []forwarding{{chosenAs(args[0]), args[1]}}, nil
	}
	var all []forwarding
	for _, arg := range args {
		if isListen(arg) {
			before := "PROFILE"
			if first := chosenAs(args[0]); !isListen(args[0]) {
				before = first.again()
			}
			return nil, command.Usagef("as "+before+":13306", "%q is where to listen, and belongs to a profile", arg)
		}
		typed, on := cutListen(arg)
		if _, err := netip.ParseAddr(strings.Trim(typed, "[]")); err == nil {
			_, err = listenAddress(arg, 0)
			return nil, err
		}
		if hint := bracketsMissing(arg); hint != "" && !isListen(on) {
			return nil, command.Usagef(hint, "%q: which of the colons is in front of the port?", arg)
		}
		all = append(all, forwarding{chosenAs(typed), on})
	}
	return all, nil
}

// isListen reports whether an argument is PORT or ADDR:PORT.
func isListen(arg string) bool {
	_, err := listenAddress(arg, 0)
	return err == nil
}

// cutListen cuts PROFILE[@HOST][:LISTEN] in two. A host that has colons itself is followed by
// LISTEN only in brackets.
func cutListen(arg string) (typed, on string) {
	at := strings.LastIndex(arg, "@") + 1
	if _, err := netip.ParseAddr(arg[at:]); err == nil {
		return arg, ""
	}
	if !strings.HasPrefix(arg[at:], "[") {
		typed, on, _ = strings.Cut(arg[at:], ":")
		return arg[:at] + typed, on
	}
	end := at + max(0, strings.Index(arg[at:], "]"))
	before, on, _ := strings.Cut(arg[end:], ":")
	return arg[:end] + before, on
}

// bracketsMissing returns the hint for PROFILE@HOST:PORT whose host is an IPv6 address, else "".
func bracketsMissing(arg string) string {
	at, end := strings.LastIndex(arg, "@")+1, strings.LastIndex(arg, ":")
	if end < at {
		return ""
	}
	if a, err := netip.ParseAddr(arg[at:end]); err != nil || !a.Is6() {
		return ""
	}
	return "as " + command.Shell([]string{arg[:at] + "[" + arg[at:end] + "]" + arg[end:]})
}

func forwardAction(c *cli.Context) error {
	if noProfile(c) {
		return command.NoArgument(c)
	}
	all, err := forwardings(c)
	if err != nil {
		return err
	}
	if len(all) > 1 && c.IsSet("port") {
		return command.Usagef("knock forward "+all[0].profile.again()+" --port PORT", "--port goes with one profile")
	}
	words := &shared{Printer: printer(c)}
	turns := new(client.Turns)
	var forwarders []*forwarder
	defer func() {
		for _, f := range forwarders {
			f.listener.Close()
		}
	}()
	for _, one := range all {
		f, err := newForwarder(c, one, forwarders, words, turns)
		if err != nil {
			return err
		}
		forwarders = append(forwarders, f)
	}
	ctx, stop := interruptible(c.Context)
	defer stop()
	for _, f := range forwarders {
		words.note("%s listens for %s; Ctrl-C ends it", f.listener.Addr(), f)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, len(forwarders))
	for _, f := range forwarders {
		go func() { ended <- f.run(ctx) }()
	}
	for range forwarders {
		err = errors.Join(err, <-ended)
		cancel() // one that ends by itself ends all
	}
	return err
}

// newForwarder listens for a profile, beside others.
func newForwarder(c *cli.Context, one forwarding, others []*forwarder, words *shared, turns *client.Turns) (*forwarder, error) {
	tn, err := newTunnel(c, one.profile, "", c.String("port"))
	if err != nil {
		return nil, err
	}
	on, err := listenAddress(one.on, tn.port)
	if err != nil {
		return nil, err
	}
	for _, f := range others {
		if f.listener.Addr().String() == on.String() {
			return nil, command.Usagef("choose another port: "+one.again("PORT"), "%s and %s would both listen on %s", f.profile.Name, tn.profile.Name, on)
		}
	}
	l, err := net.Listen(familyOf(on), on.String())
	if err != nil {
		return nil, listenError(one, err)
	}
	if !on.Addr().IsLoopback() {
		words.warn("everyone who reaches %s can use the gate", l.Addr())
	}
	f := &forwarder{tunnel: tn, words: words, listener: l, carried: map[string]*kept{}}
	tn.dialer.Turns = turns
	tn.dialer.Told = func(k client.Knocking) { f.told(c, k) }
	tn.dialer.Target.Waits = func(until time.Time) { words.note("%s", waiting(tn.dialer.Target, until)) }
	return f, nil
}

// listenError says of which profile it is that nothing listens.
func listenError(one forwarding, err error) error {
	e := &command.Error{Code: command.Failed, Err: fmt.Errorf("%s: %w", one.profile.again(), err),
		Hint: "choose another port: " + one.again("PORT")}
	switch {
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		e.Code, e.Hint = command.Usage, "this machine has: "+say.Names(sourceWords())
	case errors.Is(err, fs.ErrPermission):
		e.Code = command.Privilege
	}
	return e
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

// familyOf returns the network to listen on: the family of the address alone, which "tcp" is not for
// 0.0.0.0 and [::].
func familyOf(on netip.AddrPort) string {
	if on.Addr().Unmap().Is4() {
		return "tcp4"
	}
	return "tcp6"
}

// shared is a printer that several goroutines write to.
type shared struct {
	*say.Printer
	mu sync.Mutex
}

func (s *shared) note(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Note(format, args...)
}

func (s *shared) warn(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Warning("%s", fmt.Sprintf(format, args...))
}

// forwarder carries the connections of one listener.
type forwarder struct {
	*tunnel
	words    *shared
	listener net.Listener
	conns    sync.WaitGroup

	mu      sync.Mutex
	carried map[string]*kept // by address
	last    string           // the address of the last connection; "": there was none
	failed  error            // of the last knock, if it failed; it was said
}

// kept is a lease that is kept while connections are carried.
type kept struct {
	open int
	rest context.CancelFunc // ends the keeping
}

// run accepts until ctx ends, then closes what is open. It returns nil then.
func (f *forwarder) run(ctx context.Context) error {
	l := f.listener
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
	far, address, err := f.dialer.DialAny(ctx, "tcp", f.lastFirst())
	if err != nil {
		_ = near.SetLinger(0) // a reset says that there is nobody
		if ctx.Err() == nil && !f.said(err) {
			f.warn("%s: %s", f.profile.Name, err)
		}
		return
	}
	defer far.Close()
	f.begin(ctx, address)
	defer f.end(address)
	// Both ends are closed when ctx ends, which ends the relay.
	stop := context.AfterFunc(ctx, func() { near.Close(); far.Close() })
	defer stop()
	if err := relay(near, far.(*net.TCPConn)); err != nil && ctx.Err() == nil {
		f.warn("%s: %s", near.RemoteAddr(), err)
	}
}

// lastFirst returns the addresses, that of the last connection first: a lease may live there.
func (f *forwarder) lastFirst() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := f.addresses()
	if i := slices.Index(all, f.last); i > 0 {
		all[0], all[i] = all[i], all[0]
	}
	return all
}

// begin keeps the lease from the first connection to an address on: an idle forwarder sends
// nothing.
func (f *forwarder) begin(ctx context.Context, address string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last = address
	if f.profile.Once {
		return
	}
	if k := f.carried[address]; k != nil {
		k.open++
		return
	}
	keep, rest := context.WithCancel(ctx)
	f.carried[address] = &kept{1, rest}
	host, _, _ := net.SplitHostPort(address)
	f.conns.Go(func() {
		f.dialer.Keep(keep, host, nil)
	})
}

func (f *forwarder) end(address string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	k := f.carried[address]
	if k == nil {
		return
	}
	if k.open--; k.open == 0 {
		k.rest()
		delete(f.carried, address)
	}
}

// told says when the gate is knocked on and why, and what came of it, with the likeliest reasons
// where the knock before went well.
func (f *forwarder) told(c *cli.Context, k client.Knocking) {
	f.words.mu.Lock()
	defer f.words.mu.Unlock()
	words := f.words.Printer
	if !k.Ended {
		words.Note("%s: knocking on %s: %s", f.profile.Name, k.Target.Host, k.Why)
		return
	}
	o := inTunnel(k)
	switch {
	case k.Err == nil:
		name := say.Text("%s", f.profile.Name)
		if len(f.hosts) > 1 {
			name += say.Text("@%s", k.Target.Host)
		}
		words.Note("%s: %s", name, openedText(words, o))
		f.fails(nil)
	case !errors.Is(k.Err, context.Canceled):
		words.Error(fmt.Errorf("%s: %w", f.profile.Name, k.Err))
		if reasons := new(command.Error); f.fails(k.Err) && errors.As(explain(o), &reasons) {
			words.Hint(reasons.Hint)
		}
	}
	f.keep(c, o)
}

// fails keeps how the last knock ended, and reports whether this is the first that fails.
func (f *forwarder) fails(err error) (first bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	first = f.failed == nil
	f.failed = err
	return first
}

// said reports whether the error is that of a knock, which is said once however many
// connections waited for it.
func (f *forwarder) said(err error) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.failed != nil && errors.Is(err, f.failed)
}

func (f *forwarder) warn(format string, args ...any) { f.words.warn(format, args...) }

// pause waits a moment, so that an error that stays is not met in a busy loop.
func pause(ctx context.Context) {
	select {
	case <-time.After(100 * time.Millisecond):
	case <-ctx.Done():
	}
}
