package format

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"knockkit/protocol"
)

func ports(t *testing.T, texts ...string) []protocol.PortRange {
	t.Helper()
	var all []protocol.PortRange
	for _, text := range texts {
		r, err := ParsePortRange(text)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

// newText makes the text of a profile that must be possible.
func newText(t *testing.T, n NewProfile, intn func(int) int) string {
	t.Helper()
	text, err := NewProfileText(n, intn)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestANewProfileParsesWithoutAWarning(t *testing.T) {
	avoided := protocol.Knock{Proto: protocol.TCP, Port: 2025} // the first that "ascending" would take
	n := NewProfile{Name: "new-one", Open: ports(t, "3306/tcp"), Avoid: func(k protocol.Knock) bool { return k == avoided }}
	for name, intn := range map[string]func(int) int{
		"random":        rand.New(rand.NewPCG(1, 2)).IntN,
		"always lowest": func(int) int { return 0 },
		"always last":   func(n int) int { return n - 1 },
		"ascending":     counter(1000),
		"scanned ports": counter(8000 - 1024),
		"opened ports":  func(int) int { return 3306 - 1024 },
	} {
		t.Run(name, func(t *testing.T) {
			for range 200 {
				p, ds := ParseProfile("new-one.toml", []byte(newText(t, n, intn)))
				if len(ds) > 0 {
					t.Fatal(ds)
				}
				var ports []uint16
				for _, s := range p.Sequence {
					ports = append(ports, s.Knock.Port)
					if s.Knock.Proto != protocol.TCP || s.Knock.Port < 1024 || scannedFirst(s.Knock) || s.Knock == avoided {
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
	n := NewProfile{Name: "a", Open: ports(t, "3306/tcp")}
	if newText(t, n, rand.New(rand.NewPCG(1, 1)).IntN) == newText(t, n, rand.New(rand.NewPCG(1, 2)).IntN) {
		t.Error("two sources of random numbers gave the same text")
	}
}

func TestANewProfileSaysWhatItWasToldAndNothingElse(t *testing.T) {
	n := NewProfile{Name: "web", Open: ports(t, "80/tcp", "6000-6010/udp"), Lease: "8h", Within: "30s", Hosts: []string{"db1.example.com", "2001:db8::7"},
		Description: `the "shop" of C:\ <&>`}
	p, ds := ParseProfile("web.toml", []byte(newText(t, n, rand.IntN)))
	if len(ds) > 0 {
		t.Fatal(ds)
	}
	if diff := cmp.Diff([]any{n.Open, "8h", "30s", n.Hosts, n.Description},
		[]any{p.Open, protocol.FormatDuration(p.Lease), protocol.FormatDuration(p.Sequence[1].Within), p.Hosts, p.Description}); diff != "" {
		t.Error(diff)
	}
	// What a text says cannot become a line of the profile.
	for name, n := range map[string]NewProfile{
		"description": {Name: "web", Open: n.Open, Description: "x\"\nenabled = false\n#"},
		"host":        {Name: "web", Open: n.Open, Hosts: []string{"x\"\nenabled = false\n#"}},
		"lease":       {Name: "web", Open: n.Open, Lease: "1h\"\nenabled = false\n#"},
	} {
		if _, ds := ParseProfile("web.toml", []byte(newText(t, n, rand.IntN))); !ds.HasErrors() || !strings.HasPrefix(ds[0].Text, name+" = ") {
			t.Errorf("%s: %v", name, ds)
		}
	}
}

func TestWhereTooFewPortsAreLeftNoProfileIsMade(t *testing.T) {
	for open, possible := range map[string]bool{"1-65535/tcp": false, "1-65532/tcp": false, "1-65000/tcp": true, "1-65535/udp": true} {
		if _, err := NewProfileText(NewProfile{Name: "a", Open: ports(t, open)}, rand.IntN); (err == nil) != possible {
			t.Errorf("%s: error %v", open, err)
		}
	}
}

func TestAServiceHasThePortsThatPeopleMean(t *testing.T) {
	for name, want := range map[string][]protocol.PortRange{
		"ssh": ports(t, "22/tcp"), "mysql": ports(t, "3306/tcp"), "mariadb": ports(t, "3306/tcp"), "postgresql": ports(t, "5432/tcp"),
		"https": ports(t, "443/tcp", "443/udp"), "wireguard": ports(t, "51820/udp"), "nonesuch": nil, "": nil,
	} {
		if diff := cmp.Diff(want, ServicePorts(name)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	for name, want := range map[string]string{"mysq": "mysql", "wiregaurd": "wireguard", "nonesuch": ""} {
		if got := ClosestService(name); got != want {
			t.Errorf("closest to %s: %q, not %q", name, got, want)
		}
	}
}
