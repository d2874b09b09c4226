//go:build linux

package labtest

import (
	"testing"

	"knockkit/internal/lab"
)

// NewHost makes a host that lives as long as the test.
func NewHost(t testing.TB, name string) *lab.Host {
	t.Helper()
	Need(t)
	h, err := lab.New(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

// Join connects two hosts by virtual Ethernet: see [lab.Join].
func Join(t testing.TB, a, b *lab.Host) {
	t.Helper()
	if err := lab.Join(a, b); err != nil {
		t.Fatal(err)
	}
}

// Network connects hosts to one Ethernet: see [lab.Network].
func Network(t testing.TB, hosts ...*lab.Host) {
	t.Helper()
	bridge, err := lab.Network(hosts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { bridge.Close() })
}

// Connect joins two hosts by a link on which packets can be lost, delayed, forged
// and watched: see [lab.Connect].
func Connect(t testing.TB, a, b *lab.Host, c lab.Conditions) *lab.Link {
	t.Helper()
	NeedTUN(t)
	l, err := lab.Connect(a, b, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// Wire puts a wire into a host whose other end is the test: see [lab.Plug].
func Wire(t testing.TB, h *lab.Host) *lab.Wire {
	t.Helper()
	NeedTUN(t)
	w, err := lab.Plug(h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

// PathOf returns a folder with the commands of a flavour of iptables, to be put
// first on PATH.
func PathOf(t testing.TB, f lab.Flavour) string {
	t.Helper()
	dir := t.TempDir()
	if err := f.LinkInto(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}
