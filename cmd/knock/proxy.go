package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
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
	"knockkit/protocol"
)

func proxyCommand() *cli.Command {
	return &cli.Command{
		Name:      "proxy",
		Usage:     "knock, connect, and carry standard input and output",
		UsageText: "knock proxy PROFILE[@HOST] [HOST PORT]",
		Description: `Connects to the port that the profile opens, as OpenSSH's ProxyCommand. In ~/.ssh/config:

   Host db1.example.com
       ProxyCommand knock proxy ssh %h %p`,
		Flags:  append(tunnelFlags(), timeoutFlag()),
		Action: proxyAction,
	}
}

func proxyAction(c *cli.Context) error {
	if noProfile(c) {
		return command.NoArgument(c)
	}
	p, rest := choose(c)
	switch {
	case len(rest) == 0:
		rest = []string{"", ""} // those of the profile
	case len(rest) != 2:
		return command.Usagef("knock proxy PROFILE HOST PORT", "proxy takes a profile, or a profile, a host and a port")
	}
	if p.stdin() {
		return command.Usagef("give it a file", "proxy carries standard input: the profile cannot come from there")
	}
	if p.at && rest[0] != "" && rest[0] != p.host || c.IsSet("host") && rest[0] != "" {
		return command.Usagef("leave one out: knock proxy PROFILE HOST PORT", "the host is named twice")
	}
	tn, err := newTunnel(c, p, rest[0], rest[1])
	if err != nil {
		return err
	}
	tn.dialer.Told = func(k client.Knocking) {
		if k.Ended {
			tn.keep(c, inTunnel(k))
		}
	}
	tn.dialer.Target.Waits = func(until time.Time) { printer(c).Note("%s", waiting(tn.dialer.Target, until)) }
	interrupt, stop := interruptible(c.Context)
	defer stop()
	ctx, cancel := limited(c, interrupt)
	conn, _, err := tn.dialer.DialAny(ctx, "tcp", tn.addresses())
	cancel()
	if by := context.Cause(interrupt); err != nil && by != nil {
		return fmt.Errorf("%w before %s was connected", by, tn)
	}
	if err != nil {
		return explain(outcome{target: tn.dialer.Target, err: err})
	}
	defer conn.Close()
	far, ok := conn.(stream)
	if !ok {
		return fmt.Errorf("connect to %s: not a stream", tn)
	}
	ended := make(chan error, 1)
	go func() { ended <- relay(standard{os.Stdin, os.Stdout}, far) }()
	select {
	case err = <-ended:
	case <-interrupt.Done(): // reading from a terminal cannot be ended otherwise
	}
	// OpenSSH ends its ProxyCommand by a signal when all is done: there is nothing to say.
	if by := new(command.InterruptError); errors.As(context.Cause(interrupt), &by) {
		return &command.Error{Code: by.Code()}
	}
	return err
}

// stream is one end of a relay.
type stream interface {
	io.ReadWriter
	// CloseWrite says that nothing more will be written; reading goes on.
	CloseWrite() error
}

// relay carries bytes both ways until both have ended. The end of one way is
// passed on and the other goes on: "send the request, close, read the answer"
// works as it does without us. The error is that of the first way that broke.
func relay(near, far stream) error {
	var back error
	var both sync.WaitGroup
	both.Go(func() { back = carry(near, far) })
	there := carry(far, near)
	both.Wait()
	return errors.Join(there, back)
}

// carry copies one way and passes its end on.
func carry(to, from stream) error {
	_, err := io.Copy(to, from)
	if end := to.CloseWrite(); err == nil {
		err = end
	}
	if over(err) {
		return nil
	}
	return err
}

// over reports whether an error only says that an end has gone, which is how
// many programs end a connection.
func over(err error) bool {
	return errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrClosed) || errors.Is(err, io.EOF) ||
		errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.ENOTCONN)
}

// standard is this program's own input and output as a stream.
type standard struct {
	in  *os.File
	out *os.File
}

func (s standard) Read(p []byte) (int, error)  { return s.in.Read(p) }
func (s standard) Write(p []byte) (int, error) { return s.out.Write(p) }
func (s standard) CloseWrite() error           { return s.out.Close() }

// tunnel is the target of proxy and forward: one TCP port of one host, or of any of several.
type tunnel struct {
	dialer  *client.Dialer
	profile *protocol.Profile
	hosts   []string // one, unless any will do
	port    uint16
}

// newTunnel loads the profile and reads the flags. at, if not "", is the host
// instead; port, if not "", the port instead of the first that the profile
// opens.
func newTunnel(c *cli.Context, p chosen, at, port string) (*tunnel, error) {
	ts, err := targets(c, p, at)
	if err != nil {
		return nil, err
	}
	t := ts[0]
	if len(ts) > 1 && !anyOne(c, ts) {
		return nil, command.Usagef(fmt.Sprintf("choose one: knock %s %s", c.Command.Name, p.with(t.Host)),
			"%s needs one host, not %d", c.Command.Name, len(ts))
	}
	first, ok := firstTCP(t.Profile)
	if !ok {
		return nil, command.Usagef("", "profile %s opens no tcp port", t.Profile.Name)
	}
	tn := &tunnel{profile: t.Profile, port: first}
	for _, t := range ts {
		tn.hosts = append(tn.hosts, t.Host)
	}
	if port != "" {
		if tn.port, err = opened(t.Profile, port); err != nil {
			return nil, err
		}
	}
	tn.dialer = &client.Dialer{Target: t}
	return tn, nil
}

// inTunnel is what a knock of a tunnel has come to. Where one address opened, of the others nothing
// is known: the first that opens ends the knocks on them.
func inTunnel(k client.Knocking) outcome {
	if k.Err == nil {
		k.Result.Addrs = slices.DeleteFunc(slices.Clone(k.Result.Addrs), func(a client.AddrResult) bool { return !a.Outcome.OK() })
	}
	return outcome{k.Target, k.Result, k.Err}
}

// keep keeps what a knock has come to, and lists its packets for whoever wants details. A lease
// for one connection is used up at once by that of the tunnel.
func (tn *tunnel) keep(c *cli.Context, o outcome) {
	if c.Bool("verbose") {
		details(printer(c), o)
	}
	if !tn.profile.Once {
		remember(c, o, false)
	}
}

func (tn *tunnel) addresses() (all []string) {
	for _, host := range tn.hosts {
		all = append(all, net.JoinHostPort(host, strconv.Itoa(int(tn.port))))
	}
	return all
}

func (tn *tunnel) String() string { return strings.Join(tn.addresses(), " or ") }

// firstTCP returns the first TCP port that the profile opens.
func firstTCP(p *protocol.Profile) (uint16, bool) {
	for _, r := range p.Open {
		if r.Proto == protocol.TCP {
			return r.First, true
		}
	}
	return 0, false
}

// opened reads a port and sees that the profile opens it.
func opened(p *protocol.Profile, text string) (uint16, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 {
		return 0, command.Usagef("a port is a number from 1 to 65535", "bad port %q", text)
	}
	k := protocol.Knock{Proto: protocol.TCP, Port: uint16(n)}
	for _, r := range p.Open {
		if r.Contains(k) {
			return k.Port, nil
		}
	}
	return 0, command.Usagef("it opens "+joined(say.Texts(p.Open)), "profile %s does not open %s", p.Name, k)
}
