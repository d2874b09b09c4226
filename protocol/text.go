package protocol

import (
	"fmt"
	"time"
)

// knocks counts in words: "knock", "2 knocks".
func knocks(n int) string {
	if n == 1 {
		return "knock"
	}
	return fmt.Sprintf("%d knocks", n)
}

// seconds writes a time limit as a profile does: "10s", "no limit" for 0.
func seconds(d time.Duration) string {
	if d == 0 {
		return "without limit"
	}
	return fmt.Sprintf("%ds", int64(d/time.Second))
}
