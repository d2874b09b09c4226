package tomldoc

import (
	"os"
	"testing"
)

// The scanner and the TOML library must agree: in every file that the library
// reads, each value has a place, and the place lies in the file.
func FuzzEveryValueHasItsPlace(f *testing.F) {
	f.Fuzz(func(t *testing.T, data []byte) {
		d := Parse(data, limit)
		for _, p := range d.Problems() {
			if p.At.Start < 0 || p.At.End < p.At.Start || p.At.End > len(d.data)+1 {
				t.Fatalf("%+v is outside of the file", p)
			}
			d.Locate(p.At)
		}
		if d.Errors() == 0 {
			d.placed(t, d.root.values, d.root.node)
		}
	})
}

func (d *Document) placed(t *testing.T, v any, n *node) {
	t.Helper()
	if n == nil {
		t.Fatalf("%v has no place", v)
	}
	if n.value.Start < 0 || n.value.End < n.value.Start || n.value.End > len(d.data) {
		t.Fatalf("%v is at %v of %d bytes", v, n.value, len(d.data))
	}
	switch v := v.(type) {
	case map[string]any:
		for key := range v {
			if n.get(key) == nil && foreignEscape(key) {
				continue
			}
			d.placed(t, v[key], n.get(key))
		}
	case []any:
		for i := range v {
			d.placed(t, v[i], n.item(i))
		}
	case []map[string]any:
		for i := range v {
			d.placed(t, v[i], n.item(i))
		}
	}
}

// foreignEscape reports whether a key may have been written with an escape that
// Go does not know: \e, or \x, which stands for a byte in Go.
func foreignEscape(key string) bool {
	for _, r := range key {
		if r == 0x1b || r >= 0x80 && r <= 0xff {
			return true
		}
	}
	return false
}

func TestTheFuzzerHasACorpus(t *testing.T) {
	entries, err := os.ReadDir("testdata/fuzz/FuzzEveryValueHasItsPlace")
	if err != nil || len(entries) < 5 {
		t.Errorf("%d entries, %v; want at least 5", len(entries), err)
	}
}
