package format

import (
	"math/rand/v2"
	"slices"
	"testing"

	"knockkit/protocol"
)

func TestANewProfileParsesWithoutAWarning(t *testing.T) {
	for name, intn := range map[string]func(int) int{
		"random":        rand.New(rand.NewPCG(1, 2)).IntN,
		"always lowest": func(int) int { return 0 },
		"always last":   func(n int) int { return n - 1 },
		"ascending":     counter(1000),
		"scanned ports": counter(8000 - 1024),
	} {
		t.Run(name, func(t *testing.T) {
			for range 200 {
				p, ds := ParseProfile("new-one.toml", []byte(NewProfileText("new-one", intn)))
				if len(ds) > 0 {
					t.Fatal(ds)
				}
				var ports []uint16
				for _, s := range p.Sequence {
					ports = append(ports, s.Knock.Port)
					if s.Knock.Proto != protocol.TCP || s.Knock.Port < 1024 || scannedFirst(s.Knock) {
						t.Fatalf("knock %v", s.Knock)
					}
				}
				if len(ports) != newSequence || slices.IsSorted(ports) || len(slices.Compact(slices.Sorted(slices.Values(ports)))) != newSequence {
					t.Fatalf("ports %v", ports)
				}
			}
		})
	}
}

// counter counts upwards from start.
func counter(start int) func(int) int {
	return func(n int) int {
		start++
		return start % n
	}
}

func TestOtherRandomNumbersMakeAnotherSequence(t *testing.T) {
	a := NewProfileText("a", rand.New(rand.NewPCG(1, 1)).IntN)
	b := NewProfileText("a", rand.New(rand.NewPCG(1, 2)).IntN)
	if a == b {
		t.Error("two sources of random numbers gave the same text")
	}
}
