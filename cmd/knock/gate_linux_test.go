package main

import (
	"net/netip"
	"testing"

	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
	"knockkit/protocol"
	"knockkit/protocol/format"
	"knockkit/server"
)

// gatedHost is a host with one profile installed.
type gatedHost struct {
	profile *protocol.Profile
	t       testing.TB
	host    *lab.Host
	srv     *server.Server
}

// installGate installs a profile, given as the text of its file, on a host.
func installGate(t testing.TB, h *lab.Host, name, text string) *gatedHost {
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
	g := &gatedHost{profile: p, t: t, host: h, srv: server.New(b, server.DefaultSettings())}
	g.do(func() error {
		_, err := g.srv.Install(t.Context(), []*protocol.Profile{p}, server.InstallOptions{})
		return err
	})
	return g
}

// revoke ends a source's lease.
func (g *gatedHost) revoke(src netip.Addr) {
	g.t.Helper()
	g.do(func() error {
		_, err := g.srv.Revoke(g.t.Context(), g.profile.Name, netip.PrefixFrom(src, src.BitLen()), false)
		return err
	})
}

// sources returns what the kernel knows of those who knocked.
func (g *gatedHost) sources() server.Status {
	g.t.Helper()
	var st server.Status
	g.do(func() (err error) {
		st, err = g.srv.Status(g.t.Context(), nil, nil)
		return err
	})
	return st
}

func (g *gatedHost) do(f func() error) {
	g.t.Helper()
	if err := g.host.Do(f); err != nil {
		g.t.Fatal(err)
	}
}
