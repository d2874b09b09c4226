package lab

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestTheQueueDeliversInTimeAndInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		type arrival struct {
			packet string
			after  time.Duration
		}
		var got []arrival
		q := newQueue(func(p []byte) { got = append(got, arrival{string(p), time.Since(start)}) })
		done := make(chan struct{})
		go q.run(done)

		put := func(packet string, after time.Duration) { q.put(start.Add(after), []byte(packet)) }
		put("late", 30*time.Millisecond)
		put("first of two", 20*time.Millisecond)
		put("second of two", 20*time.Millisecond)
		synctest.Wait()                   // the queue sleeps until the earliest,
		put("early", 10*time.Millisecond) // and is woken by an earlier one
		put("at once", -time.Millisecond) // due already
		time.Sleep(time.Second)           // the bubble's clock, not ours
		close(done)
		synctest.Wait()

		want := []arrival{
			{"at once", 0},
			{"early", 10 * time.Millisecond},
			{"first of two", 20 * time.Millisecond},
			{"second of two", 20 * time.Millisecond},
			{"late", 30 * time.Millisecond},
		}
		if len(got) != len(want) {
			t.Fatalf("got %v, want %v", got, want)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("arrival %d is %v, want %v", i, got[i], want[i])
			}
		}
	})
}
