package classic_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"knockkit/internal/classic"
	"knockkit/protocol/format"
)

// Whatever a file holds, it is refused with reasons that can be printed, or becomes
// profiles that everybody can read, and every section is accounted for.
func FuzzRead(f *testing.F) {
	for _, archive := range golden(f) {
		f.Add(archive.Files[0].Data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 4096 {
			return // each section costs a profile
		}
		im, err := classic.Read("knockd.conf", data)
		if err == nil {
			check(t, im)
			return
		}
		var faults format.Diagnostics
		if !errors.As(err, &faults) || !faults.HasErrors() || im != nil {
			t.Fatalf("%v, with %v", err, im)
		}
		for _, d := range faults {
			if strings.Count(d.String(), "\n") > 3 || d.Message == "" {
				t.Fatalf("%q", d.String())
			}
		}
	})
}

// A corpus that somebody moved away would let the fuzzer pass with nothing.
func TestTheFuzzerHasACorpus(t *testing.T) {
	entries, err := os.ReadDir("testdata/fuzz/FuzzRead")
	if err != nil || len(entries) < 5 {
		t.Errorf("%d entries, %v; want at least 5", len(entries), err)
	}
}
