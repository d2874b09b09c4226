package client

import (
	"context"
	"errors"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"knockkit/protocol"
)

// admin is a signed profile.
func admin() *protocol.Profile {
	p := mysql()
	p.Name, p.Sequence, p.Signed = "admin", nil, &protocol.Signed{Carrier: protocol.Knock{Proto: protocol.ICMP}}
	return p
}

func aliceKey() *protocol.Key {
	return &protocol.Key{Profile: "admin", User: "alice", Audience: "db1", Secret: [protocol.KeySize]byte{1}}
}

// pair is what a token is made of.
type pair struct {
	slot  int64
	index int
}

// pairOf returns what a token was made of, at a slot or at one beside it.
func pairOf(t *testing.T, k *protocol.Key, token *protocol.Token, at int64) pair {
	t.Helper()
	for slot := at - protocol.EarlySlots; slot <= at+protocol.LateSlots; slot++ {
		for i := range protocol.Indexes {
			if token != nil && *token == k.Token(slot, i) {
				return pair{slot, i}
			}
		}
	}
	t.Fatalf("%v is no token of slot %d", token, at)
	return pair{}
}

func TestEachAttemptAndAddressTakesAnotherTokenAndItsCopiesTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &fakeWire{}
		target := Target{Profile: admin(), Key: aliceKey(), Indexes: new(IndexMemory)}
		r := visitOn(t, target, w, v4(), v6())
		seen := map[pair]bool{}
		for _, a := range r.Addrs {
			knocks, _ := w.packets(a.Addr)
			if len(knocks) != 1+2+3 {
				t.Fatalf("%d knocks, want 1, 2 and 3", len(knocks))
			}
			for attempt, copies := range [][]sentPacket{knocks[:1], knocks[1:3], knocks[3:]} {
				is := pairOf(t, target.Key, copies[0].token, protocol.Slot(copies[0].at))
				for _, c := range copies {
					if pairOf(t, target.Key, c.token, is.slot) != is || c.k != target.Profile.Signed.Carrier {
						t.Errorf("attempt %d: the copies differ", attempt+1)
					}
				}
				if seen[is] {
					t.Errorf("attempt %d on %s takes the token of another", attempt+1, a.Addr)
				}
				seen[is] = true
			}
			for _, p := range a.Packets {
				if p.Check == (p.Slot != 0) {
					t.Errorf("%+v: a knock names its slot, a check has none", p)
				}
			}
		}
	})
}

// used returns indexes of which none is left in this slot.
func used(k *protocol.Key) *IndexMemory {
	m := new(IndexMemory)
	for range protocol.Indexes {
		m.Next(k, protocol.Slot(time.Now()))
	}
	return m
}

func TestAKnockWaitsForTheNextSlotWhenAllTokensAreUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(10 * time.Second) // the clock of synctest begins with a slot
		w := &fakeWire{answer: opensAfter(ms)}
		next := protocol.SlotStart(protocol.Slot(time.Now()) + 1)
		var told []time.Time
		target := Target{Profile: admin(), Key: aliceKey(), Indexes: used(aliceKey()), Waits: func(until time.Time) { told = append(told, until) }}
		r := visitOn(t, target, w, v4())
		if len(told) != 1 || !told[0].Equal(next) || r.Outcome() != Open {
			t.Errorf("%s, told of %v, want open and %v", r.Outcome(), told, next)
		}
		knocks, _ := w.packets(v4())
		if len(knocks) != 1 || !knocks[0].at.Equal(next) || pairOf(t, target.Key, knocks[0].token, protocol.Slot(next)).slot != protocol.Slot(next) {
			t.Errorf("%d knocks, want one, at %v, with a token of that slot", len(knocks), next)
		}
	})
}

func TestTheContextEndsTheWaitForTheNextSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		w := &fakeWire{}
		target := Target{Profile: admin(), Host: "198.51.100.2", Key: aliceKey(), Indexes: used(aliceKey())}
		_, err := knockOn(ctx, target, w)
		late := new(UnfinishedError)
		if !errors.As(err, &late) || late.Checked || late.Error() != "no knock was sent to 198.51.100.2 in time" || len(w.sent) != 0 {
			t.Errorf("error %v after %d packets", err, len(w.sent))
		}
	})
}

func TestADialersKnocksTakeDifferentTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &fakeWire{answer: opensAfter(ms)}
		p := admin()
		p.Once = true // each dial knocks, without a check
		d := &Dialer{Target: Target{Profile: p, Key: aliceKey()}, wire: w, Dial: func(context.Context, string, string) (net.Conn, error) {
			return nil, syscall.ECONNREFUSED
		}}
		for range 2 {
			_, _ = d.DialContext(t.Context(), "tcp", "198.51.100.2:3306")
			_, _ = d.DialContext(t.Context(), "tcp", "198.51.100.3:3306") // another server, perhaps of the same name
		}
		seen := map[protocol.Token]int{}
		for _, s := range w.sent {
			seen[*s.token]++
		}
		if knocks := len(w.sent) / 2; len(seen) != knocks || knocks < 4 { // each is sent twice
			t.Errorf("%d tokens in %d knocks", len(seen), knocks)
		}
	})
}
