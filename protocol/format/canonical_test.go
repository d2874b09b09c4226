package format

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"knockkit/protocol"
)

// anyProfile draws valid profiles, as only the server sees them.
func anyProfile() *rapid.Generator[*protocol.Profile] {
	return rapid.Custom(func(t *rapid.T) *protocol.Profile {
		seconds := func(most time.Duration, label string) time.Duration {
			return time.Duration(rapid.Int64Range(0, int64(most/time.Second)).Draw(t, label)) * time.Second
		}
		p := &protocol.Profile{
			Name:       rapid.StringMatching(`[a-z0-9][a-z0-9-]{0,19}`).Draw(t, "name"),
			Enabled:    true,
			Open:       []protocol.PortRange{{Proto: protocol.TCP, First: 3306, Last: 3306}, {Proto: protocol.UDP, First: 1, Last: 1023}}[:rapid.IntRange(1, 2).Draw(t, "open")],
			Lease:      rapid.SampledFrom([]time.Duration{protocol.DefaultLease, 0, seconds(protocol.MaxLease, "lease")}).Draw(t, "which lease"),
			Once:       rapid.Bool().Draw(t, "once"),
			PrefixIPv4: rapid.IntRange(1, 32).Draw(t, "prefix4"),
			PrefixIPv6: rapid.IntRange(1, 128).Draw(t, "prefix6"),
			Family:     rapid.SampledFrom([]protocol.Family{protocol.Both, protocol.IPv4, protocol.IPv6}).Draw(t, "family"),
			Interface:  rapid.SampledFrom([]string{"", "eth0", "br-1.10"}).Draw(t, "interface"),
			Reply:      protocol.Reply(rapid.IntRange(0, 3).Draw(t, "reply")),
			Closed:     protocol.Closed(rapid.IntRange(0, 2).Draw(t, "closed")),
			Client:     protocol.Client{Gap: protocol.DefaultGap, Attempts: protocol.DefaultAttempts, Verify: true},
		}
		p.Local = rapid.Bool().Draw(t, "local")
		p.Renew = !p.Once && rapid.Bool().Draw(t, "renew")
		p.Cut = !p.Once && rapid.Bool().Draw(t, "cut")
		if rapid.Bool().Draw(t, "from") {
			p.From = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("2001:db8::/32")}
		}
		if rapid.Bool().Draw(t, "extra rules") {
			body := rapid.StringMatching(`-j LOG --log-prefix "[^"\\\pC]{0,20}"`)
			p.Opened.IPTables = rapid.SliceOfN(body, 0, 3).Draw(t, "iptables")
			p.Opened.NFTables = []string{"ct mark set 7"}
		}
		free := func(k protocol.Knock) bool {
			return !p.Open[0].Contains(k) && !(len(p.Open) > 1 && p.Open[1].Contains(k))
		}
		if rapid.IntRange(0, 9).Draw(t, "signed") == 0 {
			p.Signed = &protocol.Signed{Carrier: rapid.SampledFrom([]protocol.Knock{{Proto: protocol.ICMP}, {Proto: protocol.UDP, Port: 40123}}).Draw(t, "carrier")}
			return p
		}
		for _, k := range rapid.SliceOfN(anyKnock().Filter(free), 1, protocol.MaxSequence).Draw(t, "knocks") {
			if n := len(p.Sequence); n > 0 && p.Sequence[n-1].Knock == k {
				continue
			}
			p.Sequence = append(p.Sequence, protocol.Step{Knock: k, Within: rapid.SampledFrom([]time.Duration{protocol.DefaultWithin, 0, seconds(protocol.MaxWithin, "within")}).Draw(t, "which within")})
		}
		p.Sequence[0].Within = 0
		if k := (protocol.Knock{Proto: protocol.TCP, Port: 9001}); rapid.Bool().Draw(t, "close") && !slices.Contains(p.Knocks(), k) {
			p.Close = &k
		}
		return p
	})
}

// same compares profiles; an empty list is as good as none.
func same(x, y *protocol.Profile) string {
	return cmp.Diff(x, y, cmpopts.EquateEmpty(), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }))
}

func TestTheCanonicalFormIsReadBackAsTheSameProfile(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := anyProfile().Draw(t, "profile")
		text := Canonical(p)
		if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Fatalf("not one line of ASCII: %q", text)
		}
		back, err := ParseCanonical(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if diff := same(p, back); diff != "" {
			t.Fatalf("%s (-written +read):\n%s", text, diff)
		}
	})
}

func TestOnlyWhatTheServerActsOnChangesTheCanonicalForm(t *testing.T) {
	const base = "sequence = [\"7421/tcp\", \"3190/tcp\"]\nopen = [\"3306/tcp\"]\n"
	canonical := func(text string) string {
		p, ds := ParseProfile("mysql.toml", []byte(text))
		if p == nil {
			t.Fatal(ds)
		}
		return Canonical(p)
	}
	for name, tc := range map[string]struct {
		text    string
		changes bool
	}{
		"a description":        {base + "description = \"x\"", false},
		"a host":               {base + "host = \"db1\"", false},
		"any of the hosts":     {base + "any = true", false},
		"in the fleet":         {base + "fleet = true", false},
		"not in the fleet":     {base + "fleet = false", true},
		"the client's timing":  {base + "client.gap = \"1s\"", false},
		"disabled":             {base + "enabled = false", false},
		"the default lease":    {base + "lease = \"3600s\"", false},
		"another lease":        {base + "lease = \"2h\"", true},
		"another time":         {base + "within = \"5s\"", true},
		"a mark":               {base + "opened.nftables = [\"ct mark set 1\"]", true},
		"the name of the port": {strings.ReplaceAll(base, "3306", "mysql"), false},
	} {
		if changed := canonical(tc.text) != canonical(base); changed != tc.changes {
			t.Errorf("%s: changed %v, want %v", name, changed, tc.changes)
		}
	}
}

func TestACanonicalFormThatNoProfileHasIsRefused(t *testing.T) {
	for name, text := range map[string]string{
		"empty":            "",
		"not JSON":         "{",
		"a list":           "[]",
		"null":             "null",
		"two":              `{"name":"a","sequence":["1/tcp"],"open":["2/tcp"]}{}`,
		"no name":          `{"sequence":["1/tcp"],"open":["2/tcp"]}`,
		"a bad name":       `{"name":"A b","sequence":["1/tcp"],"open":["2/tcp"]}`,
		"an unknown key":   `{"name":"a","sequence":["1/tcp"],"open":["2/tcp"],"x":1}`,
		"the client's key": `{"name":"a","sequence":["1/tcp"],"open":["2/tcp"],"host":"h"}`,
		"any host":         `{"name":"a","sequence":["1/tcp"],"open":["2/tcp"],"any":true}`,
		"null for a value": `{"name":"a","sequence":["1/tcp"],"open":["2/tcp"],"lease":null}`,
		"no sequence":      `{"name":"a","open":["2/tcp"]}`,
		"a fraction":       `{"name":"a","sequence":["1/tcp"],"open":["2/tcp"],"prefix":{"ipv4":1.5}}`,
		"too large":        `{"name":"` + strings.Repeat("a", maxCanonical) + `"}`,
	} {
		if p, err := ParseCanonical(text); err == nil {
			t.Errorf("%s: read as %+v", name, p)
		}
	}
}

// TestARecordOfAnOlderProgramIsRead: what its parser took is in the kernel, and a record
// that cannot be read is a host on which nothing can be changed.
func TestARecordOfAnOlderProgramIsRead(t *testing.T) {
	for _, body := range []string{`counter \`, `log prefix "a\" ; drop comment "x\"`, `comment "x"`, `-h`} {
		p := &protocol.Profile{Name: "mysql", Enabled: true, Open: []protocol.PortRange{{Proto: protocol.TCP, First: 3306, Last: 3306}}, Lease: protocol.DefaultLease, PrefixIPv4: 32, PrefixIPv6: 128,
			Sequence: []protocol.Step{{Knock: protocol.Knock{Proto: protocol.TCP, Port: 7421}}}, Client: protocol.Client{Gap: protocol.DefaultGap, Attempts: protocol.DefaultAttempts, Verify: true}}
		p.Opened.NFTables, p.Opened.IPTables = []string{body}, []string{body}
		back, err := ParseCanonical(Canonical(p))
		if err != nil {
			t.Errorf("%q: %v", body, err)
		} else if diff := same(p, back); diff != "" {
			t.Errorf("%q (-written +read):\n%s", body, diff)
		}
	}
}
