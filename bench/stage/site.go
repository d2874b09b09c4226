//go:build linux

package stage

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"knockkit/internal/kernel/iptables"
	"knockkit/internal/kernel/nftables"
	"knockkit/internal/lab"
	"knockkit/protocol"
	"knockkit/server"
)

// Site is a host whose only neighbour is the wire that the benchmark holds.
type Site struct {
	Host *lab.Host
	Wire *lab.Wire
}

// NewSite makes a site without rules. The caller closes it.
func NewSite(name string) (*Site, error) {
	h, err := lab.New(name)
	if err != nil {
		return nil, err
	}
	w, err := lab.Plug(h)
	if err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return &Site{h, w}, nil
}

// Close ends the site.
func (s *Site) Close() error { return errors.Join(s.Wire.Close(), s.Host.Close()) }

// Backend returns a new backend of ours: "iptables" or "nftables".
func Backend(name string) server.Backend {
	if name == "iptables" {
		return iptables.New()
	}
	return nftables.New()
}

// Ours returns a server of ours with the default settings.
func Ours(backend string) *server.Server {
	return server.New(Backend(backend), server.DefaultSettings())
}

// Install installs profiles on a host.
func Install(ctx context.Context, h *lab.Host, s *server.Server, profiles []*protocol.Profile) error {
	return h.Do(func() error {
		_, err := s.Install(ctx, profiles, server.InstallOptions{})
		return err
	})
}

// Run runs a tool on a host; a failure of it is an error.
func Run(ctx context.Context, h *lab.Host, stdin, name string, args ...string) error {
	out, err := h.Run(ctx, stdin, name, args...)
	if err == nil && out.Code != 0 {
		err = fmt.Errorf("%s %s: %s", name, strings.Join(args, " "), strings.TrimSpace(out.Stderr))
	}
	return err
}

// Opens reports whether a connection from a source to a TCP port is answered. One
// packet asks, as a flow of its own.
func (s *Site) Opens(from netip.AddrPort, port uint16) (bool, error) {
	if _, err := s.Wire.Drain(); err != nil {
		return false, err
	}
	if err := s.Wire.Inject(lab.SYN(from, netip.AddrPortFrom(s.Host.Addr4, port))); err != nil {
		return false, err
	}
	answers, err := s.Wire.Drain()
	for _, raw := range answers {
		if p, err := lab.Parse(raw); err == nil && p.SrcPort == port && p.Flags.Has(lab.FlagSYN|lab.FlagACK) {
			return true, nil
		}
	}
	return false, err
}

// Visit is one try of the right client: the packets of the knock, and then SYNs to
// the opened port until one is answered.
type Visit struct {
	Knocks func(from netip.Addr, to netip.Addr) ([][]byte, error)
	Gap    time.Duration // between two knocks
	Every  time.Duration // between two SYNs to the opened port
	Within time.Duration // how long after the last knock the visit is given up
}

// Sequence returns the packets of a profile's knocks, as a [Visit] sends them.
func Sequence(p *protocol.Profile) func(from, to netip.Addr) ([][]byte, error) {
	return func(from, to netip.Addr) ([][]byte, error) {
		var packets [][]byte
		for i, step := range p.Sequence {
			packets = append(packets, lab.SYN(netip.AddrPortFrom(from, uint16(50_000+i)), netip.AddrPortFrom(to, step.Knock.Port)))
		}
		return packets, nil
	}
}

// Visitor is who makes a visit: an address that the cable has not used before.
type Visitor struct {
	cable *Cable
	from  netip.Addr
	port  uint16 // of its SYNs to the opened port, and no other visitor's
}

// Visitor returns the next one. There are 100 on a cable.
func (c *Cable) Visitor() (Visitor, error) {
	if c.next == visitors {
		return Visitor{}, fmt.Errorf("%s: no visitor left", c.Host)
	}
	v := Visitor{c, visitor(c.next), uint16(30_000 + c.next)}
	c.next++
	return v, nil
}

// Visit knocks and returns the time from the last knock to the answer of the opened
// port; ok is false when it did not open in time. The first SYN goes right behind
// the last knock.
func (v Visitor) Visit(ctx context.Context, visit Visit) (took time.Duration, ok bool, err error) {
	knocks, err := visit.Knocks(v.from, v.cable.Host.Addr4)
	if err != nil {
		return 0, false, err
	}
	syn := lab.SYN(netip.AddrPortFrom(v.from, v.port), netip.AddrPortFrom(v.cable.Host.Addr4, v.cable.port))
	var last time.Time
	for i, knock := range knocks {
		if i > 0 {
			if err := Wait(ctx, visit.Gap); err != nil {
				return 0, false, err
			}
		}
		last = time.Now()
		if err := v.cable.Send(knock); err != nil {
			return 0, false, fmt.Errorf("knock: %w", err)
		}
	}
	for time.Since(last) < visit.Within {
		if err := v.cable.Send(syn); err != nil {
			return 0, false, fmt.Errorf("connect: %w", err)
		}
		if err := Wait(ctx, visit.Every); err != nil {
			return 0, false, err
		}
		if at, ok := v.cable.answered(v.port); ok {
			return at.Sub(last), true, nil
		}
	}
	return 0, false, nil
}

// Wait waits, or returns why ctx ended.
func Wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
