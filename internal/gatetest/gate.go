//go:build linux

// Package gatetest puts a gate in front of a lab host's ports, for tests of the
// client against the real server.
package gatetest

import (
	"net/netip"
	"testing"

	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
	"knockkit/protocol"
	"knockkit/protocol/format"
	"knockkit/server"
)

// Gate is a host with one profile installed.
type Gate struct {
	Profile *protocol.Profile

	t    testing.TB
	host *lab.Host
	srv  *server.Server
}

// Install installs a profile, given as the text of its file, on a host.
func Install(t testing.TB, h *lab.Host, name, text string) *Gate {
	t.Helper()
	labtest.NeedRoot(t)
	labtest.Need(t, "iptables-restore")
	p, diagnostics := format.ParseProfile(name+".toml", []byte(text))
	if diagnostics.HasErrors() {
		t.Fatal(diagnostics)
	}
	b, _, err := server.OpenBackend(t.Context(), "iptables")
	if err != nil {
		t.Fatal(err)
	}
	g := &Gate{Profile: p, t: t, host: h, srv: server.New(b, server.DefaultSettings())}
	g.do(func() error {
		_, err := g.srv.Install(t.Context(), []*protocol.Profile{p}, server.InstallOptions{})
		return err
	})
	return g
}

// Revoke ends a source's lease.
func (g *Gate) Revoke(src netip.Addr) {
	g.t.Helper()
	g.do(func() error {
		_, err := g.srv.Revoke(g.t.Context(), g.Profile.Name, netip.PrefixFrom(src, src.BitLen()), false)
		return err
	})
}

// Sources returns what the kernel knows of those who knocked.
func (g *Gate) Sources() server.Status {
	g.t.Helper()
	var st server.Status
	g.do(func() (err error) {
		st, err = g.srv.Status(g.t.Context(), nil, nil)
		return err
	})
	return st
}

func (g *Gate) do(f func() error) {
	g.t.Helper()
	if err := g.host.Do(f); err != nil {
		g.t.Fatal(err)
	}
}
