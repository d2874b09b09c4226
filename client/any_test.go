package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"knockkit/protocol"
)

// addrOf is the address of the i-th of several hosts.
func addrOf(i int) netip.Addr { return netip.AddrFrom4([4]byte{198, 51, 100, byte(10 + i)}) }

// endOfHost is what Any tells of a host.
type endOfHost struct {
	i    int
	open bool
	late bool
}

// anyOn knocks on n hosts over a wire, in their order, and returns what was told.
func anyOn(ctx context.Context, p *protocol.Profile, w *fakeWire, n int) (told []endOfHost) {
	ts := make([]Target, n)
	for i := range ts {
		ts[i] = Target{Profile: p, Host: fmt.Sprintf("web%d", i), addrs: []netip.Addr{addrOf(i)}}
		if p.Signed != nil {
			ts[i].Key = aliceKey()
		}
	}
	Any(ctx, ts, func(ctx context.Context, t Target) (Result, error) { return knockOn(ctx, t, w) },
		func(i int, r Result, err error, late bool) { told = append(told, endOfHost{i, err == nil, late}) })
	return told
}

// only lets hosts open after a while; others are silent.
func only(after time.Duration, opens ...int) *fakeWire {
	return &fakeWire{answer: func(to netip.Addr, k protocol.Knock, n int) (Reply, time.Duration) {
		for _, i := range opens {
			if to == addrOf(i) {
				return Accepted, after
			}
		}
		return NoReply, 0
	}}
}

func TestTheFirstOfSeveralHostsThatOpensIsEnough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := only(time.Millisecond, 0, 1, 2)
		if told := anyOn(t.Context(), mysql(), w, 3); !slices.Equal(told, []endOfHost{{0, true, false}}) {
			t.Errorf("told %v", told)
		}
		if knocks, _ := w.packets(addrOf(1)); len(knocks) > 0 {
			t.Errorf("another was knocked on: %v", knocks)
		}
	})
}

func TestASilentHostTakesTheTimeOfOneAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		told := anyOn(t.Context(), mysql(), only(time.Millisecond, 2), 4)
		took := time.Since(start)
		if want := []endOfHost{{2, true, false}, {0, false, true}, {1, false, true}}; len(told) != 3 || told[0] != want[0] || !slices.Contains(told, want[1]) || !slices.Contains(told, want[2]) {
			t.Errorf("told %v, want %v", told, want)
		}
		if patience := (Target{Profile: mysql()}).patience(); took < 2*patience || took > 2*patience+time.Second/4 || patience > time.Second {
			t.Errorf("two silent hosts took %v, with a patience of %v", took, patience)
		}
	})
}

func TestHostsThatAllStaySilentEndSideBySide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		if told := anyOn(t.Context(), mysql(), only(0), 1); !slices.Equal(told, []endOfHost{{0, false, false}}) {
			t.Fatalf("told %v", told)
		}
		alone := time.Since(start)
		start = time.Now()
		if told := anyOn(t.Context(), mysql(), only(0), 5); len(told) != 5 || slices.ContainsFunc(told, func(e endOfHost) bool { return e.open || e.late }) {
			t.Errorf("told %v", told)
		}
		if took := time.Since(start); took > alone+4*time.Second {
			t.Errorf("five took %v, one alone %v", took, alone)
		}
	})
}

func TestTheEndOfTheContextEndsTheKnocksOnAnyHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		start := time.Now()
		told := anyOn(ctx, mysql(), only(0), 3)
		if took := time.Since(start); took != 500*time.Millisecond || len(told) != 3 {
			t.Errorf("%v was told after %v", told, took)
		}
	})
}

func TestEachOfSeveralHostsGetsAnotherToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, p := only(0), admin()
		p.Client.Attempts = 1
		anyOn(t.Context(), p, w, 4)
		seen := map[pair]bool{}
		for i := range 4 {
			knocks, _ := w.packets(addrOf(i))
			if len(knocks) != 1 {
				t.Fatalf("host %d: %d knocks, want 1", i, len(knocks))
			}
			seen[pairOf(t, aliceKey(), knocks[0].token, protocol.Slot(knocks[0].at))] = true
		}
		if len(seen) != 4 {
			t.Errorf("%v, want a token for each of 4 hosts", seen)
		}
	})
}

// halfOpen is a connection that says whether it was closed.
type halfOpen struct {
	net.Conn
	closed bool
}

func (c *halfOpen) Close() error { c.closed = true; return nil }

func TestADialToAnyHostReturnsOneConnectionAndClosesOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow, fast := &halfOpen{}, &halfOpen{}
		p := mysql()
		p.Once, p.Client.Attempts = true, 1 // each dial knocks, and nothing but the dial tells whether it is open
		d := &Dialer{Target: Target{Profile: p}, wire: &fakeWire{}, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			switch address {
			case "198.51.100.10:3306": // it comes about all the same, as the dial is ended
				<-ctx.Done()
				return slow, nil
			case "198.51.100.11:3306":
				return nil, io.ErrUnexpectedEOF
			}
			return fast, nil
		}}
		addresses := []string{"198.51.100.10:3306", "198.51.100.11:3306", "198.51.100.12:3306"}
		conn, at, err := d.DialAny(t.Context(), "tcp", addresses)
		if err != nil || conn != fast || at != addresses[2] || !slow.closed || fast.closed {
			t.Errorf("%v to %s, error %v; closed: %v, %v", conn, at, err, slow.closed, fast.closed)
		}
		if _, _, err = d.DialAny(t.Context(), "tcp", addresses[1:2]); err == nil || err.Error() != io.ErrUnexpectedEOF.Error() {
			t.Errorf("of one alone: %v", err)
		}
		_, _, err = d.DialAny(t.Context(), "tcp", []string{addresses[1], "198.51.100.13:22"})
		if profile := new(ProfileError); !errors.As(err, &profile) || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("of two: %v", err)
		}
	})
}
