//go:build linux

package lab_test

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"

	"knockkit/internal/lab"
	"knockkit/internal/lab/labtest"
)

func TestHostsOnANetworkReachEachOther(t *testing.T) {
	server, laptop, stranger := labtest.NewHost(t, "server"), labtest.NewHost(t, "laptop"), labtest.NewHost(t, "stranger")
	labtest.Network(t, server, laptop, stranger)
	hosts := []*lab.Host{server, laptop, stranger}
	for _, to := range hosts {
		for _, addr := range []netip.Addr{to.Addr4, to.Addr6} {
			labtest.Listen(t, to, "tcp", netip.AddrPortFrom(addr, 4000).String())
			for _, from := range hosts {
				reach(t, from, addr)
			}
		}
	}
}

// reach connects to port 4000.
func reach(t *testing.T, from *lab.Host, to netip.Addr) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	c, err := from.Dial(ctx, "tcp", netip.AddrPortFrom(to, 4000).String())
	if err != nil {
		t.Errorf("%s does not reach %v: %v", from, to, err)
		return
	}
	c.Close()
}

func TestEachJoinHasAddressesOfItsOwn(t *testing.T) {
	a, b, c := labtest.NewHost(t, "a"), labtest.NewHost(t, "b"), labtest.NewHost(t, "c")
	labtest.Join(t, a, b)
	labtest.Join(t, b, c)
	labtest.Join(t, a, c)
	labtest.Join(t, a, b)
	all := []netip.Addr{}
	for _, h := range []*lab.Host{a, b, c} {
		for i, in := range h.Interfaces {
			if want := "eth" + strconv.Itoa(i); in.Name != want {
				t.Errorf("interface %d of %s is %s, want %s", i, h, in.Name, want)
			}
			all = append(all, in.Addr4.Addr(), in.Addr6.Addr())
		}
	}
	slices.SortFunc(all, netip.Addr.Compare)
	if n := len(slices.Compact(slices.Clone(all))); n != 16 {
		t.Errorf("%d different addresses, want 16 (4 joins × 2 ends × 2 families): %v", n, all)
	}
	// Every join works, not only the first of each host.
	for _, pair := range []struct {
		from, to *lab.Host
		nth      int
	}{{b, a, 0}, {c, a, 1}, {b, a, 2}, {c, b, 1}} {
		in := pair.to.Interfaces[pair.nth]
		labtest.Listen(t, pair.to, "tcp", netip.AddrPortFrom(in.Addr4.Addr(), 4000).String())
		reach(t, pair.from, in.Addr4.Addr())
	}
}

func TestPingSocketsWork(t *testing.T) {
	a, b := labtest.NewHost(t, "a"), labtest.NewHost(t, "b")
	labtest.Join(t, a, b)
	var conn *icmp.PacketConn
	if err := a.Do(func() (err error) {
		conn, err = icmp.ListenPacket("udp4", a.Addr4.String())
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	request, err := (&icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: 1, Seq: 1}}).Marshal(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.WriteTo(request, &net.UDPAddr{IP: b.Addr4.AsSlice()}); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, from, err := conn.ReadFrom(make([]byte, 1500)); err != nil {
		t.Errorf("no reply: %v", err)
	} else if got := from.(*net.UDPAddr).IP.String(); got != b.Addr4.String() {
		t.Errorf("reply from %s, want %v", got, b.Addr4)
	}
}

func TestAHostTakesMoreAddresses(t *testing.T) {
	a, b := labtest.NewHost(t, "a"), labtest.NewHost(t, "b")
	labtest.Join(t, a, b)
	extra := netip.MustParsePrefix("198.51.100.200/32")
	if err := b.AddAddr("eth0", extra); err != nil {
		t.Fatal(err)
	}
	if err := a.AddRoute(extra, "eth0", b.Addr4); err != nil {
		t.Fatal(err)
	}
	labtest.Listen(t, b, "tcp", "198.51.100.200:4000")
	reach(t, a, extra.Addr())
}
