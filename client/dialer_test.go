package client

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"knockkit/protocol"
)

// far is a host behind a gate as a Dialer sees it: knocks and checks go over
// the fake wire, connections come about while the gate is open.
type far struct {
	fakeWire
	mu    sync.Mutex
	open  bool
	dials int
}

func newFar() *far {
	f := &far{}
	f.answer = func(_ netip.Addr, k protocol.Knock, _ int) (Reply, time.Duration) {
		if k.Port != 3306 {
			return NoReply, 0
		}
		f.set(true)
		return Accepted, 20 * ms
	}
	return f
}

func (f *far) set(open bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open = open
}

func (f *far) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	f.mu.Lock()
	f.dials++
	open := f.open
	f.mu.Unlock()
	if !open {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	near, other := net.Pipe()
	other.Close()
	return near, nil
}

// knocked returns how many sequences began.
func (f *far) knocked() int {
	f.fakeWire.mu.Lock()
	defer f.fakeWire.mu.Unlock()
	n := 0
	for _, p := range f.sent {
		if p.k.Proto == protocol.ICMP {
			n++
		}
	}
	return n
}

func (f *far) dialer(p *protocol.Profile) *Dialer {
	return &Dialer{Target: Target{Profile: p, Host: v4().String()}, Dial: f.dial, wire: &f.fakeWire}
}

func mustDial(t *testing.T, d *Dialer) {
	t.Helper()
	c, err := d.DialContext(t.Context(), "tcp", ":3306")
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

func leased(d time.Duration) *protocol.Profile {
	p := mysql()
	p.Lease = d
	return p
}

func TestManyDialsThatWaitShareOneKnock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		d := f.dialer(leased(time.Hour))
		var all sync.WaitGroup
		for range 200 {
			all.Go(func() { mustDial(t, d) })
		}
		all.Wait()
		if f.knocked() != 1 || f.dials != 200 {
			t.Errorf("%d knocks and %d dials, want 1 and 200", f.knocked(), f.dials)
		}
	})
}

func TestALeaseIsBelievedInUntilShortlyBeforeItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		d := f.dialer(leased(time.Minute)) // believed in for 54 s
		mustDial(t, d)
		time.Sleep(53 * time.Second)
		mustDial(t, d)
		if f.knocked() != 1 {
			t.Errorf("%d knocks within the lease, want 1", f.knocked())
		}
		time.Sleep(2 * time.Second)
		mustDial(t, d)
		if f.knocked() != 2 {
			t.Errorf("%d knocks after the lease, want 2", f.knocked())
		}
	})
}

func TestAConnectionRenewsTheLeaseOfAProfileThatSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		p := leased(time.Minute)
		p.Renew = true
		d := f.dialer(p)
		for range 5 {
			mustDial(t, d)
			time.Sleep(40 * time.Second)
		}
		if f.knocked() != 1 {
			t.Errorf("%d knocks, want 1", f.knocked())
		}
	})
}

func TestALeaseThatIsGoneIsKnockedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		d := f.dialer(leased(time.Hour))
		mustDial(t, d)
		f.set(false) // revoked
		start := time.Now()
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() { mustDial(t, d) })
		}
		all.Wait()
		// The check took 20 ms, so a dial may take 300; then three gaps and a check.
		if took := time.Since(start); f.knocked() != 2 || took != 300*ms+3*10*ms+20*ms {
			t.Errorf("%d knocks, the connections came after %v, want 2 and 350ms", f.knocked(), took)
		}
	})
}

func TestACancelledDialEndsItsKnockAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &fakeWire{} // silent
		d := &Dialer{Target: Target{Profile: mysql(), Host: v4().String()}, wire: w}
		ctx, cancel := context.WithTimeout(t.Context(), 100*ms)
		defer cancel()
		start := time.Now()
		_, err := d.DialContext(ctx, "tcp", ":3306")
		if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took != 100*ms || w.open != 0 {
			t.Errorf("%v after %v with %d sockets open, want the context's error after 100ms and none", err, took, w.open)
		}
		if late := new(UnfinishedError); !errors.As(err, &late) || !late.Checked {
			t.Errorf("%v, want to know that the check was under way", err)
		}
	}) // synctest fails when a goroutine is left
}

func TestADialThatGoesAwayDoesNotEndTheKnockForTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		d := f.dialer(mysql())
		ctx, cancel := context.WithTimeout(t.Context(), 15*ms)
		defer cancel()
		var first, second error
		var all sync.WaitGroup
		all.Go(func() { _, first = d.DialContext(ctx, "tcp", ":3306") })
		all.Go(func() {
			time.Sleep(5 * ms)
			_, second = d.DialContext(t.Context(), "tcp", ":3306")
		})
		all.Wait()
		if !errors.Is(first, context.DeadlineExceeded) || second != nil || f.knocked() != 1 {
			t.Errorf("%v and %v after %d knocks, want only the first to fail, and one knock", first, second, f.knocked())
		}
	})
}

func TestEveryConnectionOfAOnceProfileHasAKnockOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		f.set(true)
		p := mysql()
		p.Once = true
		d := f.dialer(p)
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() { mustDial(t, d) })
		}
		all.Wait()
		knocks, checks := f.packets(v4())
		if len(knocks) != 3*len(sequenceOf(p, 2)) || len(checks) != 0 {
			t.Fatalf("%d knocks and %d checks, want three doubled sequences and none", len(knocks), len(checks))
		}
		for i, k := range knocksOf(knocks) {
			if want := sequenceOf(p, 2)[i%6]; k != want {
				t.Fatalf("knock %d is %s, want %s: the sequences mix", i, k, want)
			}
		}
	})
}

func TestWhatCannotBeCheckedIsKnockedForUntilAConnectionComesAbout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar() // no check: nothing opens the gate but the second sequence
		p := mysql()
		p.Client.Verify = false
		f.answer = func(_ netip.Addr, k protocol.Knock, n int) (Reply, time.Duration) {
			f.set(n >= 2)
			return NoReply, 0
		}
		mustDial(t, f.dialer(p))
		if f.dials != 2 {
			t.Errorf("%d dials, want 2", f.dials)
		}
	})
}

func TestKeepRenewsALeaseBeforeItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		d := f.dialer(leased(10 * time.Second)) // believed in for 9 s
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			d.Keep(ctx, "", func(err error) { t.Error(err) })
		}()
		time.Sleep(time.Minute)
		if f.knocked() != 0 {
			t.Fatal("it knocked before anything was dialled")
		}
		mustDial(t, d)
		time.Sleep(28 * time.Second)
		if f.knocked() != 4 { // at 0, 9, 18 and 27 s
			t.Errorf("%d knocks in 28 s, want 4", f.knocked())
		}
		cancel()
		<-ended
	})
}

func TestALivingLeaseOutlivesAFailedRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar()
		d := f.dialer(leased(time.Hour))
		mustDial(t, d)
		f.fakeWire.mu.Lock()
		f.answer = nil // from now on it is silent, but what is open stays open
		f.fakeWire.mu.Unlock()
		g := d.known(v4().String())
		renewed := make(chan error)
		go func() {
			_, _, err := g.need(t.Context(), want{after: 1})
			renewed <- err
		}()
		synctest.Wait()
		mustDial(t, d) // waits for the renewal, then uses what there is
		if err := <-renewed; err == nil {
			t.Error("the renewal did not fail")
		}
	})
}

func TestOnlyWhatTheProfileOpensIsDialled(t *testing.T) {
	d := newFar().dialer(mysql())
	for _, c := range []struct{ network, address, want string }{
		{"tcp", "db1:22", "profile mysql does not open 22/tcp"},
		{"udp", "db1:3306", "profile mysql does not open 3306/udp"},
		{"unix", "db1:3306", "dial db1:3306: unknown network unix"},
		{"tcp", "db1", "address db1: missing port in address"},
	} {
		if _, err := d.DialContext(t.Context(), c.network, c.address); err == nil || err.Error() != c.want {
			t.Errorf("%s %s: %v, want %q", c.network, c.address, err, c.want)
		}
	}
}

func TestManyHostsTimeOutSideBySide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		alive := func(a netip.Addr) bool { return a.As4()[3]%3 != 0 }
		w := &fakeWire{answer: func(to netip.Addr, k protocol.Knock, _ int) (Reply, time.Duration) {
			if alive(to) && k.Port == 3306 {
				return Accepted, 20 * ms
			}
			return NoReply, 0
		}}
		var ts []Target
		for i := range 300 {
			a := netip.AddrFrom4([4]byte{10, 9, byte(i / 150), byte(i % 150)})
			ts = append(ts, Target{Profile: mysql(), Host: a.String()})
		}
		start := time.Now()
		open, dead := 0, 0
		var alone time.Duration // what the slowest took by itself
		Many(t.Context(), ts, 16, func(ctx context.Context, t Target) (Result, error) { return knockOn(ctx, t, w) },
			func(i int, r Result, err error) {
				if err == nil {
					open++
				} else {
					dead++
					alone = max(alone, r.Addrs[0].Took)
				}
			})
		if took := time.Since(start); open != 200 || dead != 100 || took > alone*3/2 {
			t.Errorf("%d open and %d dead after %v, the slowest alone took %v", open, dead, took, alone)
		}
	})
}
