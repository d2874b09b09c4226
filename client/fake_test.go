package client

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"knockkit/protocol"
)

// fakeWire is a network of which a test decides what comes back and when. It
// serves timing only: what sockets do is tested with real ones.
type fakeWire struct {
	// answer returns the reply to the nth packet of its kind (from 0), and
	// after how long. NoReply, or no function, is silence.
	answer func(to netip.Addr, k protocol.Knock, n int) (Reply, time.Duration)

	pause time.Duration // before later attempts, and
	most  time.Duration // what bounds it

	mu    sync.Mutex
	sent  []sentPacket
	count map[sentKind]int
	open  int // flights that have not ended
}

type sentKind struct {
	to netip.Addr
	k  protocol.Knock
}

type sentPacket struct {
	sentKind
	at    time.Time
	check bool
	token *protocol.Token
}

func (w *fakeWire) knock(to netip.Addr, k protocol.Knock, token *protocol.Token) (flight, error) {
	return w.send(to, k, token, false)
}

func (w *fakeWire) stagger(most time.Duration) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.most = most
	return w.pause
}

func (w *fakeWire) check(to netip.Addr, port uint16) (flight, error) {
	return w.send(to, protocol.Knock{Proto: protocol.TCP, Port: port}, nil, true)
}

func (w *fakeWire) send(to netip.Addr, k protocol.Knock, token *protocol.Token, check bool) (flight, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	kind := sentKind{to, k}
	if w.count == nil {
		w.count = map[sentKind]int{}
	}
	f := &fakeFlight{wire: w, reply: NoReply}
	if w.answer != nil {
		f.reply, f.after = w.answer(to, k, w.count[kind])
	}
	w.count[kind]++
	w.open++
	w.sent = append(w.sent, sentPacket{kind, time.Now(), check, token})
	return f, nil
}

// packets returns what was sent to an address, knocks and checks apart.
func (w *fakeWire) packets(to netip.Addr) (knocks, checks []sentPacket) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.sent {
		switch {
		case p.to != to:
		case p.check:
			checks = append(checks, p)
		default:
			knocks = append(knocks, p)
		}
	}
	return knocks, checks
}

type fakeFlight struct {
	wire  *fakeWire
	reply Reply
	after time.Duration
}

func (f *fakeFlight) wait(ctx context.Context, until time.Time) Reply {
	defer func() {
		f.wire.mu.Lock()
		defer f.wire.mu.Unlock()
		f.wire.open--
	}()
	silence := time.NewTimer(time.Until(until))
	defer silence.Stop()
	var reply <-chan time.Time
	if f.reply != NoReply {
		timer := time.NewTimer(f.after)
		defer timer.Stop()
		reply = timer.C
	}
	select {
	case <-reply:
		return f.reply
	case <-silence.C:
	case <-ctx.Done():
	}
	return NoReply
}

func v4() netip.Addr { return netip.MustParseAddr("198.51.100.2") }
func v6() netip.Addr { return netip.MustParseAddr("2001:db8::2") }

// visitOn knocks on the addresses over the fake network.
func visitOn(t *testing.T, target Target, w *fakeWire, addrs ...netip.Addr) Result {
	t.Helper()
	r := Result{Profile: target.Profile.Name, Host: "db1", Addrs: sideBySide(t.Context(), target, w, addrs, func() {})}
	if w.open != 0 {
		t.Errorf("%d sockets are still open", w.open)
	}
	return r
}

func knocksOf(packets []sentPacket) []protocol.Knock {
	var ks []protocol.Knock
	for _, p := range packets {
		ks = append(ks, p.k)
	}
	return ks
}

func sequenceOf(p *protocol.Profile, copies int) []protocol.Knock {
	var ks []protocol.Knock
	for _, s := range p.Sequence {
		ks = append(ks, slices.Repeat([]protocol.Knock{s.Knock}, copies)...)
	}
	return ks
}
