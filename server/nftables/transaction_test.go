package nftables

import (
	"slices"
	"strings"
	"testing"

	"knockkit/protocol"
	"knockkit/server/backend"
)

// listing is what nft says of a table with one gate, whose key is given as JSON.
func listing(t *testing.T, key string) *Listing {
	t.Helper()
	l, err := ParseListing(`{"nftables": [{"table": {"name": "knockd"}}, {"chain": {"name": "gate-tcp-80"}},
		{"map": {"name": "gates", "map": "verdict", "elem": [[` + key + `, {"goto": {"target": "gate-tcp-80"}}]]}}]}`)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func gateOn80(t *testing.T) *Ruleset {
	t.Helper()
	p, diagnostics := protocol.ParseProfile("web.toml", []byte("sequence = [\"7000/tcp\", \"8000/tcp\"]\nopen = [\"80/tcp\"]"))
	if diagnostics.HasErrors() {
		t.Fatal(diagnostics)
	}
	want, err := backend.Compile([]*protocol.Profile{p}, protocol.Policy{Strict: true})
	if err != nil {
		t.Fatal(err)
	}
	return Render(Input{Want: want})
}

// TestAnElementThatIsPrintedAsWeWriteItStays, and one that another version of nft prints
// in a way that we do not know is written anew, with the port shut meanwhile.
func TestAnElementThatIsPrintedAsWeWriteItStays(t *testing.T) {
	for _, c := range []struct {
		key   string
		texts int
		flush bool
	}{
		{`{"concat": ["tcp", 80]}`, 1, false},
		{`{"concat": ["tcp", 81]}`, 1, false}, // a gate that goes
		{`{"concat": ["tcp", "http"]}`, 3, true},
		{`{"concat": [6, 80]}`, 3, true},
		{`{"concat": ["tcp", {"prefix": {"addr": 80, "len": 16}}]}`, 3, true},
		{`{"elem": {"val": {"concat": ["tcp", 80]}, "comment": "x"}}`, 3, true},
	} {
		texts := transactions(listing(t, c.key), gateOn80(t), nil)
		flush := slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(text, "flush map inet knockd gates\n") })
		if len(texts) != c.texts || flush != c.flush {
			t.Errorf("%s: %d transactions, want %d; flushed: %v, want %v\n%s", c.key, len(texts), c.texts, flush, c.flush, strings.Join(texts, "---\n"))
		}
	}
}

func TestKeysOverlapWhereTheyShareAPort(t *testing.T) {
	for _, c := range []struct {
		x, y string
		want bool
	}{
		{"tcp . 80", "tcp . 80", true}, {"tcp . 80", "udp . 80", false}, {"tcp . 80-90", "tcp . 90", true}, {"tcp . 80-90", "tcp . 91-95", false},
		{"tcp . 1-65535", "tcp . 7", true}, {"tcp . 80-90", "tcp . 70-80", true},
	} {
		if overlap(c.x, c.y) != c.want || overlap(c.y, c.x) != c.want {
			t.Errorf("%q and %q: not %v", c.x, c.y, c.want)
		}
	}
}
