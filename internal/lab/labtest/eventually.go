package labtest

import (
	"testing"
	"time"
)

// pollEvery is how often Eventually looks.
const pollEvery = 5 * time.Millisecond

// Eventually calls f until it returns nil. When it has not done so within the given
// time, the test fails with f's last error. f is called at least once.
func Eventually(t testing.TB, within time.Duration, f func() error) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		err := f()
		if err == nil {
			return
		}
		if !time.Now().Before(deadline) {
			t.Fatalf("still not after %v: %v", within, err)
		}
		time.Sleep(pollEvery)
	}
}
