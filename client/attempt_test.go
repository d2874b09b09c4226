package client

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"knockkit/protocol"
)

// The tests here run on the clock of synctest: times are exact, and no test
// waits for real.

func opensAfter(rtt time.Duration) func(netip.Addr, protocol.Knock, int) (Reply, time.Duration) {
	return func(_ netip.Addr, k protocol.Knock, _ int) (Reply, time.Duration) {
		if k.Port == 3306 {
			return Accepted, rtt
		}
		return NoReply, 0
	}
}

func TestACleanPathTakesTheGapsAndOneRoundTrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &fakeWire{answer: opensAfter(80 * ms)}
		a := visitOn(t, Target{Profile: mysql()}, w, v4()).Addrs[0]
		if a.Outcome != Open || a.Attempts != 1 || a.Took != 3*10*ms+80*ms {
			t.Errorf("%s in %d attempts and %v, want open in 1 and 110ms", a.Outcome, a.Attempts, a.Took)
		}
		knocks, checks := w.packets(v4())
		if diff := cmp.Diff(sequenceOf(mysql(), 1), knocksOf(knocks)); diff != "" {
			t.Error(diff)
		}
		for i, p := range append(knocks, checks...) {
			if at := p.at.Sub(knocks[0].at); at != time.Duration(i)*10*ms {
				t.Errorf("packet %d left after %v, want a gap of 10ms between all", i, at)
			}
		}
	})
}

func TestALostCheckIsRepeatedWithinTheAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &fakeWire{answer: func(_ netip.Addr, k protocol.Knock, n int) (Reply, time.Duration) {
			if k.Port == 3306 && n == 1 {
				return Accepted, 20 * ms
			}
			return NoReply, 0
		}}
		a := visitOn(t, Target{Profile: mysql()}, w, v4()).Addrs[0]
		if a.Outcome != Open || a.Attempts != 1 || a.Took != 3*10*ms+lifetime/3+20*ms {
			t.Errorf("%s in %d attempts and %v", a.Outcome, a.Attempts, a.Took)
		}
	})
}

func TestANearHostThatDoesNotOpenIsNotWaitedForAsLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := mysql()
		p.Client.Attempts = 1
		w := &fakeWire{answer: func(_ netip.Addr, k protocol.Knock, _ int) (Reply, time.Duration) {
			if k.Port == 3306 {
				return NoReply, 0
			}
			return RefusedReply, 40 * ms // after the check has left
		}}
		a := visitOn(t, Target{Profile: p}, w, v4()).Addrs[0]
		if want := 3*10*ms + 3*40*ms + 200*ms; a.Outcome != Filtered || a.Took != want {
			t.Errorf("%s after %v, want filtered after %v", a.Outcome, a.Took, want)
		}
		if _, checks := w.packets(v4()); len(checks) != 3 {
			t.Errorf("%d checks, want 3", len(checks))
		}
	})
}

func TestLaterAttemptsDoubleEachKnock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &fakeWire{answer: func(_ netip.Addr, k protocol.Knock, n int) (Reply, time.Duration) {
			if k.Port == 3306 && n == checks { // of the second attempt
				return Accepted, 20 * ms
			}
			return NoReply, 0
		}}
		a := visitOn(t, Target{Profile: mysql()}, w, v4()).Addrs[0]
		if a.Outcome != Open || a.Attempts != 2 {
			t.Fatalf("%s in %d attempts, want open in 2", a.Outcome, a.Attempts)
		}
		knocks, _ := w.packets(v4())
		want := append(sequenceOf(mysql(), 1), sequenceOf(mysql(), 2)...)
		if diff := cmp.Diff(want, knocksOf(knocks)); diff != "" {
			t.Error(diff)
		}
		for i := 4; i < len(knocks); i++ { // 50ms for two copies
			if gap := knocks[i].at.Sub(knocks[i-1].at); gap != 25*ms {
				t.Errorf("packet %d left %v after the one before, want 25ms", i, gap)
			}
		}
	})
}

func TestAReplyEndsTheWaitOfALaterAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := mysql()
		p.Client.Gap = 4 * ms
		w := &fakeWire{answer: func(_ netip.Addr, k protocol.Knock, n int) (Reply, time.Duration) {
			switch {
			case k.Port != 3306:
				return RefusedReply, 6 * ms
			case n == 1:
				return Accepted, 6 * ms
			}
			return RefusedReply, 6 * ms
		}}
		a := visitOn(t, Target{Profile: p}, w, v4()).Addrs[0]
		// First: three gaps and the refused check; then each knock is answered
		// before its copy would leave, and the check is accepted.
		want := (3*4 + 6 + 3*6 + 6) * ms
		if a.Outcome != Open || a.Attempts != 2 || a.Took != want {
			t.Errorf("%s in %d attempts and %v, want open in 2 and %v", a.Outcome, a.Attempts, a.Took, want)
		}
		if knocks, _ := w.packets(v4()); len(knocks) != 6 {
			t.Errorf("%d knocks, want 3 and 3: an answered knock needs no copy", len(knocks))
		}
	})
}

func TestASilentHostIsFilteredAfterAllAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &fakeWire{}
		r := visitOn(t, Target{Profile: mysql()}, w, v4())
		want := 3*(10+50+250)*ms + 3*lifetime
		if a := r.Addrs[0]; a.Outcome != Filtered || a.Attempts != 3 || a.Took != want {
			t.Errorf("%s in %d attempts and %v, want filtered in 3 and %v", a.Outcome, a.Attempts, a.Took, want)
		}
		if r.Addr().IsValid() {
			t.Errorf("%v is given for a connection", r.Addr())
		}
	})
}

// TestALaterAttemptWaitsByChance: two machines behind one address, whose sequences met, would else
// meet again.
func TestALaterAttemptWaitsByChance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &fakeWire{pause: 70 * ms}
		a := visitOn(t, Target{Profile: mysql()}, w, v4()).Addrs[0]
		if want := 3*(10+50+250)*ms + 3*lifetime + 2*70*ms; a.Took != want {
			t.Errorf("three attempts took %v, want %v", a.Took, want)
		}
		if want := 10 * 3 * 10 * ms; w.most != want { // ten times three gaps
			t.Errorf("the pause is below %v, want %v", w.most, want)
		}
		long := mysql()
		long.Client.Gap = time.Second
		visitOn(t, Target{Profile: long}, w, v4())
		if w.most != mostStagger {
			t.Errorf("the pause is below %v, want %v", w.most, mostStagger)
		}
	})
}

func TestARefusedCheckIsTriedAgainInCaseItOvertookTheKnocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &fakeWire{answer: func(_ netip.Addr, k protocol.Knock, n int) (Reply, time.Duration) {
			if k.Port == 3306 {
				return RefusedReply, ms
			}
			return NoReply, 0
		}}
		if a := visitOn(t, Target{Profile: mysql()}, w, v4()).Addrs[0]; a.Outcome != Refused || a.Attempts != 3 {
			t.Errorf("%s in %d attempts, want refused in 3", a.Outcome, a.Attempts)
		}
	})
}

func TestWhatCannotBeCheckedIsSentOnceWithEveryKnockDoubled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &fakeWire{}
		a := visitOn(t, Target{Profile: mysql(), NoVerify: true}, w, v4()).Addrs[0]
		knocks, checks := w.packets(v4())
		if a.Outcome != Knocked || a.Attempts != 1 || len(checks) != 0 {
			t.Errorf("%s in %d attempts with %d checks, want knocked in 1 with none", a.Outcome, a.Attempts, len(checks))
		}
		if diff := cmp.Diff(sequenceOf(mysql(), 2), knocksOf(knocks)); diff != "" {
			t.Error(diff)
		}
		if want := 5 * 25 * ms; a.Took != want {
			t.Errorf("took %v, want %v: nothing is waited for after the last copy", a.Took, want)
		}
	})
}

func TestADeadFamilyNeitherFailsNorHoldsUpTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &fakeWire{answer: func(to netip.Addr, k protocol.Knock, _ int) (Reply, time.Duration) {
			if to == v4() && k.Port == 3306 {
				return Accepted, 20 * ms
			}
			return NoReply, 0
		}}
		start := time.Now()
		r := visitOn(t, Target{Profile: mysql()}, w, v4(), v6())
		if r.Outcome() != Open || r.Addr() != v4() {
			t.Errorf("%s at %v, want open at %v", r.Outcome(), r.Addr(), v4())
		}
		if dead := r.Addrs[1]; dead.Outcome != Filtered || dead.Attempts != 1 {
			t.Errorf("the dead family: %s in %d attempts, want filtered in 1", dead.Outcome, dead.Attempts)
		}
		if took, most := time.Since(start), 3*10*ms+lifetime; took > most {
			t.Errorf("took %v, want at most one attempt's %v", took, most)
		}
	})
}

func TestAFamilyThatAnswersGetsItsAttemptsWhenTheOtherIsOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &fakeWire{answer: func(to netip.Addr, k protocol.Knock, n int) (Reply, time.Duration) {
			switch {
			case k.Port != 3306:
				return RefusedReply, 5 * ms // it is there
			case to == v6() && n < checks:
				return NoReply, 0 // but the first attempt was lost
			}
			return Accepted, 5 * ms
		}}
		r := visitOn(t, Target{Profile: mysql()}, w, v4(), v6())
		if a := r.Addrs[1]; a.Outcome != Open || a.Attempts != 2 {
			t.Errorf("the slower family: %s in %d attempts, want open in 2", a.Outcome, a.Attempts)
		}
	})
}

func TestAKnockThatTheContextEndsDoesSoAtOnceAndSaysWhatWasNotDone(t *testing.T) {
	for _, c := range []struct {
		after    time.Duration
		noVerify bool
		text     string
		checked  bool
	}{
		{0, false, "no knock was sent to db1", false},
		{15 * ms, false, "the sequence for db1 was not finished", false}, // the third knock is due after 20 ms
		{35 * ms, false, "db1 did not open", true},                       // the check is under way since 30 ms
		{15 * ms, true, "the sequence for db1 was not finished", false},  // its timing is that of a second attempt
	} {
		for _, cause := range []error{context.DeadlineExceeded, context.Canceled} {
			t.Run(fmt.Sprint(c.text, " ", c.noVerify, " ", cause), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					ctx, cancel := context.WithTimeout(t.Context(), c.after)
					words := " in time"
					if cause == context.Canceled {
						ctx, cancel = context.WithCancel(t.Context())
						time.AfterFunc(c.after, cancel)
						if c.after == 0 {
							cancel()
						}
						words = ": interrupted"
					}
					defer cancel()
					w := &fakeWire{}
					start := time.Now()
					r := Result{Host: "db1", Addrs: sideBySide(ctx, Target{Profile: mysql(), NoVerify: c.noVerify}, w, []netip.Addr{v4()}, func() {})}
					if took := time.Since(start); took != c.after || w.open != 0 {
						t.Errorf("took %v with %d sockets left open, want %v and none", took, w.open, c.after)
					}
					err := r.err(ctx)
					late := new(UnfinishedError)
					if !errors.As(err, &late) || !errors.Is(err, cause) || late.Checked != c.checked || err.Error() != c.text+words {
						t.Errorf("error %q of %+v, want %q", err, late, c.text+words)
					}
					if want := strings.ReplaceAll(c.text+words, "db1", v4().String()); r.Addrs[0].Err == nil || r.Addrs[0].Err.Error() != want {
						t.Errorf("the address's error %v, want %q", r.Addrs[0].Err, want)
					}
				})
			})
		}
	}
}

func TestObserversHearOfEveryPacketAndReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var answered []string
		target := Target{Profile: mysql(), Observe: func(e Progress) {
			answered = append(answered, e.Knock.String()+" "+string(e.Packet.Reply))
		}}
		visitOn(t, target, &fakeWire{answer: opensAfter(20 * ms)}, v4())
		want := []string{"icmp ", "7/tcp ", "8000/tcp ", "3306/tcp ", "3306/tcp accepted"}
		if diff := cmp.Diff(want, answered); diff != "" {
			t.Error(diff)
		}
	})
}
