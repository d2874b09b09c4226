//go:build linux

package stage

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"knockkit/internal/lab"
	"knockkit/protocol"
	"knockkit/server"
	"knockkit/server/iptables"
	"knockkit/server/nftables"
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
