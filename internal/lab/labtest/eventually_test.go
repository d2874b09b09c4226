package labtest_test

import (
	"errors"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"knockkit/internal/lab/labtest"
)

// recorder notes how a test failed instead of failing.
type recorder struct {
	testing.TB
	failed string
}

func (r *recorder) Helper() {}

func (r *recorder) Fatalf(format string, args ...any) {
	r.failed = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// eventually runs Eventually on a clock of its own; f sees how often it was called.
func eventually(t *testing.T, within time.Duration, f func(call int) error) (calls int, took time.Duration, failed string) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{TB: t}
		start := time.Now()
		go labtest.Eventually(r, within, func() error {
			calls++
			took = time.Since(start)
			return f(calls)
		})
		time.Sleep(within + time.Second)
		synctest.Wait()
		failed = r.failed
	})
	return calls, took, failed
}

func TestEventuallyEndsWithTheFirstSuccess(t *testing.T) {
	calls, took, failed := eventually(t, time.Second, func(call int) error {
		if call < 4 {
			return errors.New("not yet")
		}
		return nil
	})
	// Four looks, 5 ms apart.
	if calls != 4 || took != 15*time.Millisecond || failed != "" {
		t.Errorf("%d calls in %v, failed %q", calls, took, failed)
	}
}

func TestEventuallyFailsWithTheLastError(t *testing.T) {
	_, took, failed := eventually(t, 20*time.Millisecond, func(int) error { return errors.New("still closed") })
	if took != 20*time.Millisecond || failed != "still not after 20ms: still closed" {
		t.Errorf("after %v failed %q", took, failed)
	}
}

func TestEventuallyLooksAtLeastOnce(t *testing.T) {
	if calls, _, failed := eventually(t, 0, func(int) error { return nil }); calls != 1 || failed != "" {
		t.Errorf("%d calls, failed %q", calls, failed)
	}
}
