package client

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"knockkit/protocol"
)

// twoWays is a host with an address of each family behind one gate: what goes to the addresses in
// dead is lost without a word.
type twoWays struct {
	*far
	dead   []netip.Addr
	dialed []string
}

func newTwoWays(dead ...netip.Addr) *twoWays {
	w := &twoWays{far: newFar(), dead: dead}
	there := w.answer
	w.answer = func(to netip.Addr, k protocol.Knock, n int) (Reply, time.Duration) {
		if slices.Contains(w.dead, to) {
			return NoReply, 0
		}
		return there(to, k, n)
	}
	return w
}

func (w *twoWays) dialer(p *protocol.Profile) *Dialer {
	return &Dialer{Target: Target{Profile: p, Host: "db1", addrs: []netip.Addr{v4(), v6()}}, wire: &w.fakeWire,
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			to := netip.MustParseAddrPort(address).Addr()
			w.mu.Lock()
			w.dialed = append(w.dialed, to.String())
			w.mu.Unlock()
			if slices.Contains(w.dead, to) {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return w.dial(ctx, network, address)
		}}
}

// sentTo returns how many knocks and checks went to an address.
func (w *twoWays) sentTo(a netip.Addr) int {
	knocks, checks := w.packets(a)
	return len(knocks) + len(checks)
}

func dialOver(t *testing.T, d *Dialer, network string) {
	t.Helper()
	c, err := d.DialContext(t.Context(), network, ":3306")
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

func TestAConnectionStandsWhileTheOtherFamilyWouldStillBeWaitedFor(t *testing.T) {
	for name, addrs := range map[string][2]netip.Addr{"IPv6 is dropped": {v4(), v6()}, "IPv4 is dropped": {v6(), v4()}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				open, dead := addrs[0], addrs[1]
				w := newTwoWays(dead)
				d := w.dialer(leased(time.Hour))
				start := time.Now()
				mustDial(t, d)
				if took := time.Since(start); took != 3*10*ms+20*ms || w.fakeWire.open != 0 {
					t.Errorf("the connection came after %v with %d sockets open, want 50ms and none", took, w.fakeWire.open)
				}
				sent := w.sentTo(dead)
				time.Sleep(10 * time.Second)
				mustDial(t, d)
				if w.sentTo(dead) != sent || w.knocked() != 2 {
					t.Errorf("%d more packets went to the dead address, %d knocks in all, want none and one of each family",
						w.sentTo(dead)-sent, w.knocked())
				}
				if diff := cmp.Diff([]string{open.String(), open.String()}, w.dialed); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

func TestNothingOfAnAbandonedSequenceComesLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTwoWays()
		perAttempt := 0 // checks of IPv4
		w.answer = func(to netip.Addr, k protocol.Knock, _ int) (Reply, time.Duration) {
			switch {
			case to == v6() || k.Port != 3306 && perAttempt%(checks+1) != checks:
				return NoReply, 0
			case k.Port != 3306:
				return RefusedReply, ms // ends the waits of the second attempt early: IPv6 falls behind
			}
			if perAttempt++; perAttempt%(checks+1) != 0 {
				return NoReply, 0
			}
			w.set(true)
			return Accepted, ms
		}
		d := w.dialer(leased(time.Hour))
		sent := 0
		for range 3 {
			mustDial(t, d)
			w.set(false) // revoked
			knocks, _ := w.packets(v6())
			now := knocksOf(knocks[sent:])
			if now[0].Proto != protocol.ICMP || len(now) < 4 || slices.Contains(now[3:], tcpKnock(8000)) {
				t.Fatalf("IPv6 was sent %v, want a sequence and the beginning of another", now)
			}
			sent = len(knocks)
			time.Sleep(10 * time.Second)
			if knocks, _ := w.packets(v6()); len(knocks) != sent {
				t.Fatalf("%d knocks came when the connection was there", len(knocks)-sent)
			}
		}
	})
}

func TestKeepRenewsTheAddressThatOpened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTwoWays(v6())
		d := w.dialer(leased(10 * time.Second)) // believed in for 9 s
		mustDial(t, d)
		w.dead = nil
		w.answer = func(to netip.Addr, k protocol.Knock, _ int) (Reply, time.Duration) {
			if to == v6() { // it would open first now
				return Accepted, 0
			}
			return Accepted, 20 * ms
		}
		d.known("db1").target.addrs = []netip.Addr{netip.MustParseAddr("198.51.100.3"), v6()} // what the name has now
		sent := w.sentTo(v6())
		ctx, cancel := context.WithTimeout(t.Context(), 28*time.Second)
		defer cancel()
		d.Keep(ctx, "db1", func(err error) { t.Error(err) })
		if knocks, _ := w.packets(v4()); len(knocks) != 4*3 || w.sentTo(v6()) != sent { // at 0, 9, 18 and 27 s
			t.Errorf("%d knocks on the address that opened and %d packets to the other, want 12 and none", len(knocks), w.sentTo(v6())-sent)
		}
	})
}

func TestEachFamilyThatIsAskedForHasALeaseOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTwoWays()
		d := w.dialer(leased(10 * time.Second))
		for range 3 {
			dialOver(t, d, "tcp4")
			dialOver(t, d, "tcp6")
			dialOver(t, d, "tcp")
		}
		n4, n6 := w.sentTo(v4()), w.sentTo(v6())
		if n4 != 4 || n6 != 4 {
			t.Errorf("%d and %d packets, want one sequence and a check each", n4, n6)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		d.Keep(ctx, "", func(err error) { t.Error(err) })
		if w.sentTo(v4()) != 2*n4 || w.sentTo(v6()) != 2*n6 {
			t.Errorf("%d and %d packets, want twice as many: both are kept", w.sentTo(v4()), w.sentTo(v6()))
		}
	})
}

func TestAFamilyWithoutAnAnswerKeepsNobodyFromTheOthersLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTwoWays(v6())
		d := w.dialer(leased(time.Hour))
		failed := make(chan error)
		go func() {
			_, err := d.DialContext(t.Context(), "tcp6", ":3306")
			failed <- err
		}()
		synctest.Wait() // its knock is under way
		mustDial(t, d)  // waits for it, and then knocks on both
		if err := <-failed; err == nil || !strings.Contains(err.Error(), "did not open") {
			t.Errorf("over IPv6: %v", err)
		}
	})
}

func TestWithoutACheckTheConnectionGoesToTheAddressThatAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTwoWays(v4())
		w.set(true)
		p := leased(10 * time.Second)
		p.Client.Verify = false
		d := w.dialer(p)
		start := time.Now()
		mustDial(t, d)
		if want := 5*25*ms + familyDelay; time.Since(start) != want {
			t.Errorf("the connection came after %v, want the knocks' time and %v", time.Since(start), familyDelay)
		}
		mustDial(t, d)
		if diff := cmp.Diff([]string{v4().String(), v6().String(), v6().String()}, w.dialed); diff != "" {
			t.Error(diff)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		d.Keep(ctx, "", func(err error) { t.Error(err) })
		if w.sentTo(v4()) != 6 || w.sentTo(v6()) != 12 {
			t.Errorf("%d and %d knocks, want the first 6 and a renewal over IPv6 alone", w.sentTo(v4()), w.sentTo(v6()))
		}
	})
}

func TestAOnceProfileDialsTheAddressOfItsLastConnectionFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTwoWays(v4())
		w.set(true)
		p := leased(time.Hour)
		p.Once = true
		d := w.dialer(p)
		mustDial(t, d)
		start := time.Now()
		mustDial(t, d)
		if took := time.Since(start); took != 5*25*ms {
			t.Errorf("the second connection came %v after its knock began, want the knocks' 125ms", took)
		}
	})
}
