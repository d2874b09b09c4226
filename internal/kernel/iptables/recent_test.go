package iptables

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestATableOfTheKernelIsReadLineByLine(t *testing.T) {
	addr := netip.MustParseAddr
	for _, c := range []struct {
		name, text string
		want       []entry
	}{
		{"empty", "", nil},
		{"one", "src=198.51.100.2 ttl: 64 last_seen: 4295012345 oldest_pkt: 1 4295012345\n",
			[]entry{{addr("198.51.100.2"), 4295012345}}},
		{"IPv6, written in full", "src=2001:0db8:0000:0000:0000:0000:0000:0007 ttl: 0 last_seen: 12 oldest_pkt: 2 10, 12\n",
			[]entry{{addr("2001:db8::7"), 12}}},
		// oldest_pkt is an index into a ring, so the stamps need not be in order.
		{"several stamps", "src=10.9.0.1 ttl: 1 last_seen: 30 oldest_pkt: 3 40, 20, 30\nsrc=10.9.0.2 ttl: 1 last_seen: 5 oldest_pkt: 1 5\n",
			[]entry{{addr("10.9.0.1"), 30}, {addr("10.9.0.2"), 5}}},
		{"32 bits", "src=10.9.0.1 ttl: 1 last_seen: 4294967295 oldest_pkt: 1 4294967295\n", []entry{{addr("10.9.0.1"), 1<<32 - 1}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ParseRecent(c.text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got, cmp.Comparer(func(x, y netip.Addr) bool { return x == y })); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWhatIsNoTableIsAnErrorThatNamesTheLine(t *testing.T) {
	good := "src=10.9.0.1 ttl: 1 last_seen: 5 oldest_pkt: 1 5\n"
	for name, line := range map[string]string{
		"blanks":            "   ",
		"another file":      "nodev\tsysfs",
		"no last_seen":      "src=10.9.0.1 ttl: 1",
		"last_seen is last": "src=10.9.0.1 ttl: 1 last_seen:",
		"no number":         "src=10.9.0.1 ttl: 1 last_seen: never oldest_pkt: 1 5",
		"negative":          "src=10.9.0.1 ttl: 1 last_seen: -5 oldest_pkt: 1 5",
		"more than 64 bits": "src=10.9.0.1 ttl: 1 last_seen: 18446744073709551616 oldest_pkt: 1 5",
		"no address":        "src=10.9.0.256 ttl: 1 last_seen: 5 oldest_pkt: 1 5",
	} {
		t.Run(name, func(t *testing.T) {
			if entries, err := ParseRecent(good + line + "\n"); err == nil || entries != nil || !strings.HasPrefix(err.Error(), "line 2") {
				t.Errorf("got %v, %v", entries, err)
			}
		})
	}
}

// corpus is where the inputs of FuzzParseRecent are kept.
const corpus = "testdata/fuzz/FuzzParseRecent"

func TestTheFuzzCorpusIsThere(t *testing.T) {
	files, err := os.ReadDir(corpus)
	if err != nil || len(files) < 5 {
		t.Errorf("%d inputs in %s (%v): some are lost", len(files), corpus, err)
	}
}

// FuzzParseRecent: whatever the text is, reading ends without a panic, gives
// entries or an error, and entries written as the kernel writes them are the same.
func FuzzParseRecent(f *testing.F) {
	f.Fuzz(func(t *testing.T, text string) {
		entries, err := ParseRecent(text)
		if err != nil {
			if entries != nil {
				t.Errorf("entries beside the error %v", err)
			}
			return
		}
		if lines := strings.Count(text, "\n") + 1; len(entries) > lines {
			t.Errorf("%d entries of %d lines", len(entries), lines)
		}
		var b strings.Builder
		for _, e := range entries {
			fmt.Fprintf(&b, "src=%s ttl: 64 last_seen: %d oldest_pkt: 1 %d\n", e.Addr, e.LastSeen, e.LastSeen)
		}
		again, err := ParseRecent(b.String())
		if err != nil {
			t.Fatalf("its own form is refused: %v", err)
		}
		if diff := cmp.Diff(entries, again, cmp.Comparer(func(x, y netip.Addr) bool { return x == y })); diff != "" {
			t.Error(diff)
		}
	})
}
