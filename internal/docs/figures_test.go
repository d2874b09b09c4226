package docs

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestTheFiguresOfTheREADMEAreThoseOfThePerformancePage: the page is written by the
// benchmark, the README by hand.
func TestTheFiguresOfTheREADMEAreThoseOfThePerformancePage(t *testing.T) {
	page := read(t, root+"/docs/performance.md")
	figure := func(row string) float64 {
		m := regexp.MustCompile(`\n\| ` + regexp.QuoteMeta(row) + ` \|[^|]*\| ([0-9.]+) \|`).FindStringSubmatch(page)
		if m == nil {
			t.Fatalf("the page has no row %q", row)
		}
		v, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	const hundred = "iptables, 100 profiles to 1: "
	want := fmt.Sprintf("costs %.2f times as much with iptables (a gated port %.2f, a first knock %.2f), and the article's own rules, repeated 100 times, cost %.0f times what ours do",
		figure(hundred+"a port that nobody gates"), figure(hundred+"a gated port"), figure(hundred+"a first knock"),
		figure("the article's rules to ours, iptables, 100 profiles: the whole packet"))
	if readme := strings.Join(strings.Fields(read(t, root+"/README.md")), " "); !strings.Contains(readme, want) {
		t.Errorf("the README does not say %q", want)
	}
}
