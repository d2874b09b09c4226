package format

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"knockkit/protocol"
)

func TestTimesAreGosAndDays(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0":      0,
		"0s":     0,
		"10s":    10 * time.Second,
		"90m":    90 * time.Minute,
		"1h":     time.Hour,
		"2d":     48 * time.Hour,
		"1d12h":  36 * time.Hour,
		"0d5s":   5 * time.Second,
		"1m30s":  90 * time.Second,
		"1500ms": 1500 * time.Millisecond,
	} {
		if got, err := ParseDuration(text); err != nil || got != want {
			t.Errorf("%q: %v, %v; want %v", text, got, err, want)
		}
	}
}

func TestATextThatIsNoTimeGetsAHint(t *testing.T) {
	for text, hint := range map[string]string{
		"10":          `a time needs its unit: write "10s"`,
		"-10s":        `did you mean "10s"?`,
		"5 min":       `did you mean "5m"?`,
		"5 Minutes":   `did you mean "5m"?`,
		"2 hrs":       `did you mean "2h"?`,
		"1week":       `did you mean "7d"?`,
		"20 millis":   `did you mean "20ms"?`,
		"":            `times are written as "10s", "90m", "1h" or "2d"`,
		"soon":        `times are written as "10s", "90m", "1h" or "2d"`,
		"1d-5s":       `times are written as "10s", "90m", "1h" or "2d"`,
		"9999999d":    `times are written as "10s", "90m", "1h" or "2d"`,
		"106751d106h": `times are written as "10s", "90m", "1h" or "2d"`,
	} {
		_, err := ParseDuration(text)
		var e *SyntaxError
		if !errors.As(err, &e) || e.Hint != hint {
			t.Errorf("%q: %#v; want the hint %s", text, err, hint)
		}
	}
}

func TestAFormattedTimeIsReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Min(0).Draw(t, "d"))
		if got, err := ParseDuration(protocol.FormatDuration(d)); err != nil || got != d {
			t.Fatalf("%d as %q: %v, %v", d, protocol.FormatDuration(d), got, err)
		}
	})
	for d, want := range map[time.Duration]string{
		0: "0", time.Hour: "1h", 90 * time.Minute: "90m", 36 * time.Hour: "36h", 3601 * time.Second: "3601s", time.Millisecond: "1ms",
	} {
		if got := protocol.FormatDuration(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}
