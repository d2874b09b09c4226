package main

import (
	"fmt"
	"net"
	"strconv"

	"github.com/urfave/cli/v2"

	"knockkit/client"
	"knockkit/internal/command"
	"knockkit/protocol"
)

// tunnel is what proxy and forward lead to: one TCP port of one host.
type tunnel struct {
	dialer  *client.Dialer
	profile *protocol.Profile
	host    string
	port    uint16
}

// newTunnel reads PROFILE[@HOST] and the flags. at, if not "", is the host
// instead; port, if not "", the port instead of the first that the profile
// opens.
func newTunnel(c *cli.Context, at, port string) (*tunnel, error) {
	ts, err := targets(c, c.Args().First(), at)
	if err != nil {
		return nil, err
	}
	t := ts[0]
	if len(ts) > 1 {
		return nil, command.Usagef(fmt.Sprintf("choose one: knock %s %s@%s", c.Command.Name, t.Profile.Name, t.Host),
			"%s needs one host, not %d", c.Command.Name, len(ts))
	}
	first, ok := firstTCP(t.Profile)
	if !ok {
		return nil, command.Usagef("", "profile %s opens no tcp port", t.Profile.Name)
	}
	tn := &tunnel{profile: t.Profile, host: t.Host, port: first}
	if port != "" {
		if tn.port, err = opened(t.Profile, port); err != nil {
			return nil, err
		}
	}
	tn.dialer = &client.Dialer{Target: t}
	return tn, nil
}

func (tn *tunnel) address() string {
	return net.JoinHostPort(tn.host, strconv.Itoa(int(tn.port)))
}

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
	return 0, command.Usagef("it opens "+joined(ranges(p.Open)), "profile %s does not open %s", p.Name, k)
}
