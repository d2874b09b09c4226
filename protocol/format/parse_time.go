package format

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"knockkit/internal/tomldoc"
)

const day = 24 * time.Hour

// ParseDuration reads a length of time as a profile writes it: a Go duration,
// with days as a unit before the others, as "90m", "1h", "2d", "1d12h" or "0".
// It is never negative. The error is a [*SyntaxError].
func ParseDuration(s string) (time.Duration, error) {
	if strings.HasPrefix(s, "-") {
		return 0, wrong(s, "", didYouMean(strings.TrimLeft(s, "-")), "a time is not negative")
	}
	whole, rest := time.Duration(0), s
	if number, after, found := strings.Cut(s, "d"); found {
		if n, err := strconv.ParseUint(number, 10, 16); err == nil {
			whole, rest = time.Duration(n)*day, after
		}
	}
	if whole > 0 && rest == "" {
		return whole, nil
	}
	d, err := time.ParseDuration(rest)
	if err == nil && whole+d >= 0 && d >= 0 {
		return whole + d, nil
	}
	return 0, wrong(s, "", timeHint(s), "%s is not a length of time", tomldoc.Quote(s))
}

// timeHint guesses what was meant by a text that is no time.
func timeHint(s string) string {
	squeezed := strings.ToLower(strings.Join(strings.Fields(s), ""))
	digits := strings.TrimRight(squeezed, "abcdefghijklmnopqrstuvwxyz")
	if n, err := strconv.ParseUint(digits, 10, 16); err == nil {
		switch unit := strings.TrimPrefix(squeezed, digits); {
		case unit == "":
			return fmt.Sprintf("a time needs its unit: write \"%ds\"", n)
		case unit == "w" || strings.HasPrefix(unit, "week"):
			return didYouMean(fmt.Sprintf("%dd", 7*n))
		case unit == "ms" || strings.HasPrefix(unit, "milli"):
			return didYouMean(fmt.Sprintf("%dms", n))
		case strings.HasPrefix("seconds", unit), strings.HasPrefix("minutes", unit), strings.HasPrefix("hours", unit), strings.HasPrefix("days", unit), unit == "hrs":
			return didYouMean(fmt.Sprintf("%d%c", n, unit[0]))
		}
	}
	return `times are written as "10s", "90m", "1h" or "2d"`
}
