package format

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"knockkit/protocol"
)

// forClient is the part of a profile that a link carries.
func forClient(p *protocol.Profile) *protocol.Profile {
	return &protocol.Profile{Name: p.Name, Hosts: p.Hosts, AnyHost: p.AnyHost, Enabled: true,
		Sequence: p.Sequence, Signed: p.Signed, Open: p.Open, Lease: p.Lease, Renew: p.Renew, Once: p.Once, Close: p.Close,
		PrefixIPv4: 32, PrefixIPv6: 128, Family: onlyFamily(p), Closed: p.Closed, Client: p.Client}
}

// anyEnrollable draws profiles that have a link.
func anyEnrollable() *rapid.Generator[*protocol.Profile] {
	return rapid.Custom(func(t *rapid.T) *protocol.Profile {
		p := anyProfile().Draw(t, "profile")
		p.Hosts = rapid.SliceOfN(rapid.SampledFrom([]string{"db1.example.com", "a", "x_y-z.example", "198.51.100.7", "2001:db8::7", "::ffff:198.51.100.7"}), 1, 5).Draw(t, "hosts")
		p.AnyHost = rapid.Bool().Draw(t, "any")
		p.Client = protocol.Client{
			Gap:      rapid.SampledFrom([]time.Duration{protocol.DefaultGap, time.Millisecond, 10 * time.Second}).Draw(t, "gap"),
			Attempts: rapid.IntRange(1, maxAttempts).Draw(t, "attempts"),
			Verify:   rapid.Bool().Draw(t, "verify"),
		}
		return p
	})
}

// anyKey draws keys of a profile.
func anyKey(profile string) *rapid.Generator[*KeyFile] {
	return rapid.Custom(func(t *rapid.T) *KeyFile {
		k := &KeyFile{Key: protocol.Key{Profile: profile, User: rapid.SampledFrom([]string{"alice", "b_0-c"}).Draw(t, "user"),
			Audience: rapid.SampledFrom([]string{"db1", "DB1.example.com"}).Draw(t, "audience")}}
		copy(k.Secret[:], rapid.SliceOfN(rapid.Byte(), protocol.KeySize, protocol.KeySize).Draw(t, "secret"))
		if rapid.Bool().Draw(t, "expires") {
			k.Expires = time.Date(2027, 1, 31, 12, 0, 0, 0, time.UTC)
		}
		return k
	})
}

func TestALinkIsReadBackAsWhatTheClientNeeds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := anyEnrollable().Draw(t, "profile")
		var key *KeyFile
		if p.Signed != nil {
			key = anyKey(p.Name).Draw(t, "key")
		}
		link, err := Link(p, key)
		if err != nil {
			t.Fatal(err)
		}
		if odd := strings.Trim(link, linkLetters); odd != "" {
			t.Fatalf("%q in %s", odd, link)
		}
		l, err := ParseLink(link)
		if err != nil {
			t.Fatalf("%s: %v", link, err)
		}
		if diff := same(forClient(p), l.Profile); diff != "" {
			t.Fatalf("%s (-written +read):\n%s", link, diff)
		}
		if diff := cmp.Diff(key, l.Key); diff != "" {
			t.Fatalf("the key (-written +read):\n%s", diff)
		}
		inFile, problems := ParseProfile(p.Name+".toml", l.Text)
		if len(problems.Errors()) > 0 || same(l.Profile, inFile) != "" {
			t.Fatalf("the file\n%s\nis read as %+v, %v", l.Text, inFile, problems)
		}
	})
}

// TestALinkHoldsWhatIsNotTheDefault: by hand from the form that docs/profile.md describes, but for the
// sum, which is what sha256sum prints.
func TestALinkHoldsWhatIsNotTheDefault(t *testing.T) {
	for _, c := range []struct{ name, profile, link, file string }{
		{
			"the defaults are left out",
			"host = \"db1.example.com\"\nsequence = [\"icmp\", \"7/tcp\", \"8000/tcp\"]\nwithin = \"10s\"\nopen = [\"3306/tcp\"]\nlease = \"1h\"\n",
			"knock://mysql/host=db1.example.com,knock=icmp+7-tcp+8000-tcp,open=3306-tcp",
			"host = \"db1.example.com\"\nsequence = [\"icmp\", \"7/tcp\", \"8000/tcp\"]\nopen = [\"3306/tcp\"]\n",
		},
		{
			"all that a client needs",
			"host = [\"db1.example.com\", \"2001:db8::7\"]\nany = true\nsequence = [\"7421/tcp\", \"3190/udp\", { knock = \"9002/tcp\", within = \"5s\" }, { knock = \"9004/tcp\", within = \"0\" }, \"9003/tcp\"]\nwithin = \"30s\"\nopen = [\"80/tcp\", \"6000-6010/udp\"]\nlease = \"0\"\nrenew = true\nclose = \"9001/tcp\"\nclosed = \"reject\"\nclient = { gap = \"50ms\", attempts = 5, verify = false }\n",
			"knock://mysql/host=db1.example.com+2001:db8::7,any=true,knock=7421-tcp+3190-udp+9002-tcp-5s+9004-tcp-0+9003-tcp,within=30s,open=80-tcp+6000-6010-udp,lease=0,renew=true,close=9001-tcp,closed=reject,gap=50ms,attempts=5,verify=false",
			"host = [\"db1.example.com\", \"2001:db8::7\"]\nany = true\nsequence = [\"7421/tcp\", \"3190/udp\", { knock = \"9002/tcp\", within = \"5s\" }, { knock = \"9004/tcp\", within = \"0\" }, \"9003/tcp\"]\nwithin = \"30s\"\nopen = [\"80/tcp\", \"6000-6010/udp\"]\nlease = \"0\"\nrenew = true\nclose = \"9001/tcp\"\nclosed = \"reject\"\nclient.gap = \"50ms\"\nclient.attempts = 5\nclient.verify = false\n",
		},
		{
			"nothing that the server alone needs, but the family that it leaves",
			"description = \"x\"\nhost = \"a\"\nenabled = false\nsequence = [\"7421/tcp\", \"3190/udp\"]\nopen = [\"3306/tcp\"]\nonce = true\nprefix = { ipv4 = 24 }\nfleet = false\nfrom = [\"198.51.100.0/24\"]\nto = [\"198.51.100.7/32\"]\ninterface = \"eth0\"\nplace = \"prerouting\"\nreply = \"accept\"\nopened = { iptables = [\"-j LOG\"] }\n",
			"knock://mysql/host=a,knock=7421-tcp+3190-udp,open=3306-tcp,once=true,family=ipv4",
			"host = \"a\"\nsequence = [\"7421/tcp\", \"3190/udp\"]\nopen = [\"3306/tcp\"]\nonce = true\nfamily = \"ipv4\"\n",
		},
		{
			"the time that most knocks have is the profile's",
			"host = \"a\"\nsequence = [\"1024/tcp\", { knock = \"1023/tcp\", within = \"5s\" }, \"1022/tcp\", { knock = \"1021/tcp\", within = \"5s\" }]\nopen = [\"3306/tcp\"]\n",
			"knock://mysql/host=a,knock=1024-tcp+1023-tcp+1022-tcp-10s+1021-tcp,within=5s,open=3306-tcp",
			"host = \"a\"\nsequence = [\"1024/tcp\", \"1023/tcp\", { knock = \"1022/tcp\", within = \"10s\" }, \"1021/tcp\"]\nwithin = \"5s\"\nopen = [\"3306/tcp\"]\n",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, problems := ParseProfile("mysql.toml", []byte(c.profile))
			if problems.HasErrors() {
				t.Fatal(problems)
			}
			link, err := Link(p, nil)
			if want := whole(c.link); err != nil || link != want {
				t.Fatalf("error %v\n got %s\nwant %s", err, link, want)
			}
			if l, err := ParseLink(link); err != nil || string(l.Text) != c.file {
				t.Errorf("error %v\n got %s\nwant %s", err, l.Text, c.file)
			}
		})
	}
	// printf knock://a/host=b | sha256sum
	if got := linkSum("knock://a/host=b"); got != "88e1ac17" {
		t.Errorf("the sum is %s", got)
	}
}

// whole adds its sum to a link.
func whole(link string) string { return link + linkEnd + linkSum(link) }

const goodLink = "knock://mysql/host=db1.example.com,knock=icmp+7-tcp+8000-tcp,open=3306-tcp"

// A key of 32 bytes, all of them 0, in base64url, and a link with it.
const (
	someKey    = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	signedLink = "knock://admin/host=db1.example.com,carrier=40123-udp,open=22-tcp,user=alice,audience=db1,key=" + someKey
)

func TestTheLinkOfASignedProfileHasItsKey(t *testing.T) {
	p, problems := ParseProfile("admin.toml", []byte("host = \"db1.example.com\"\nsigned = { carrier = \"40123/udp\" }\nopen = [\"22/tcp\"]\n"))
	if problems.HasErrors() {
		t.Fatal(problems)
	}
	key := &KeyFile{Key: protocol.Key{Profile: "admin", User: "alice", Audience: "db1"}}
	link, err := Link(p, key)
	if err != nil || link != whole(signedLink) {
		t.Errorf("error %v\n got %s\nwant %s", err, link, whole(signedLink))
	}
	l, err := ParseLink(link)
	if err != nil {
		t.Fatal(err)
	}
	if want := "host = \"db1.example.com\"\nsigned = { carrier = \"40123/udp\" }\nopen = [\"22/tcp\"]\n"; string(l.Text) != want {
		t.Errorf("the file is\n%s\nnot\n%s", l.Text, want)
	}
	if !HasSecret(link) || !HasSecret(",key="+someKey) {
		t.Error("its secret is not noticed")
	}
	key.Profile = "web"
	for _, other := range []*KeyFile{nil, key} {
		if _, err := Link(p, other); err == nil {
			t.Errorf("a link with the key %v", other)
		}
	}
}

func TestALinkThatIsNotWholeIsRefused(t *testing.T) {
	link := whole(goodLink)
	if _, err := ParseLink(link); err != nil {
		t.Fatal(err)
	}
	for end := range len(link) {
		want := "the link was cut off: its end is missing"
		switch {
		case end == 0:
			want = "the link is empty"
		case end < len(LinkBegin):
			want = "this is no link: a link begins with knock://"
		}
		refused(t, link[:end], want)
	}
	for begin := 1; begin < len(link)-len(linkEnd)-8; begin++ {
		refused(t, link[begin:], "the link's beginning is missing")
	}
	for at := len(LinkBegin); at < len(link); at++ { // a character that was lost, or became another
		if lost := link[:at] + link[at+1:]; lost != link {
			refused(t, lost, "")
		}
		refused(t, link[:at]+string(link[at]^1)+link[at+1:], "")
	}
}

// refused checks that a link is refused with the message, "" for any, that it has a hint, and that
// neither tells the sequence.
func refused(t *testing.T, link, message string) {
	t.Helper()
	_, err := ParseLink(link)
	e := new(SyntaxError)
	switch {
	case !errors.As(err, &e):
		t.Errorf("%q: error %v", link, err)
	case message != "" && e.Message != message:
		t.Errorf("%q: %q, want %q", link, e.Message, message)
	case e.Hint == "" || e.Text != "" || strings.Contains(e.Message+e.Hint, "8000"):
		t.Errorf("%q: %+v", link, e)
	}
}

func TestALinkThatThisVersionCannotUseIsRefusedWithTheReason(t *testing.T) {
	for link, message := range map[string]string{
		"knock://in/host=a,carrier=icmp,open=22-tcp,user=al,audience=b,key=QQ-_": "the key in the link is not valid: this is no key: 32 bytes in base64url, which is 43 characters",
		"knock://in/host=a,carrier=icmp,open=22-tcp,user=al,key=" + someKey:      "the key in the link is not valid: the key's file has no `audience`",
		signedLink + "+" + someKey:                              "the key in the link is not valid: this is no key: 32 bytes in base64url, which is 43 characters",
		"knock://in/host=a,carrier=icmp,open=22-tcp":            "the link has a key or a carrier, and needs both or none",
		goodLink + ",user=al,audience=b,key=" + someKey:         "the link has a key or a carrier, and needs both or none",
		"knock://in/host=a,carrier=7-tcp,open=22-tcp":           "the profile in the link is not valid: a token cannot travel in a SYN of tcp",
		"knock://in/host=a,carrier=icmp,knock=1-tcp,open=2-tcp": "the profile in the link is not valid: a profile has a `sequence` or is `signed`, not both",
		goodLink + ",interval=5s":                               `the link has the key "interval", which this version of knock does not know`,
		goodLink + ",from=198.51.100.0/24":                      `the link has the key "from", which this version of knock does not know`,
		goodLink + ",open=22-tcp":                               `the link says "open" twice`,
		goodLink + ",lease=1h+2h":                               "the link's `lease` cannot be read",
		goodLink + ",once=yes":                                  "the link's `once` cannot be read",
		goodLink + ",attempts=-1":                               "the link's `attempts` cannot be read",
		goodLink + ",":                                          "a part of the link cannot be read",
		goodLink + ",once":                                      "a part of the link cannot be read",
		goodLink + ",once=":                                     "a part of the link cannot be read",
		goodLink + ",lease=50d":                                 "the profile in the link is not valid: this is longer than 49 days, the most that is possible",
		goodLink + ",family=ipv5":                               "the profile in the link is not valid: `family` cannot be \"ipv5\"",
		"knock://a/knock=1-tcp,open=2-tcp":                      "the link names no host",
		"knock://a/host=b,open=2-tcp":                           "the profile in the link is not valid: the profile has no `sequence`",
		"knock://A/host=b,knock=1-tcp":                          `"A" is not a name for a profile`,
		"knock://../../a/host=b,knock=1-tcp":                    `".." is not a name for a profile`,
		"knock://a":                                             "a part of the link cannot be read",
		"knock://a/host=b,knock=echo-tcp":                       "the link's `knock` cannot be read",
		"knock://a/host=b,knock=1-tcp-5s-5s":                    "the link's `knock` cannot be read",
		"knock://a/host=b,knock=1-sctp":                         "the link's `knock` cannot be read",
		"knock://a/host=b,knock=1":                              "the link's `knock` cannot be read",
		"knock://a/host=b,open=1-2-3-tcp":                       "the link's `open` cannot be read",
		"knock://a/host=b,open=icmp":                            "the link's `open` cannot be read",
		"knock://a/host=b,close=1-tcp-5s":                       "the link's `close` cannot be read",
		"knock://a/host=-b,knock=1-tcp":                         "",
		"knock://a/host=b,knock=1-tcp,open=9-1":                 "the link's `open` cannot be read",
	} {
		refused(t, whole(link), message)
	}
	refused(t, "hunter2", "this is no link: a link begins with knock://")
	refused(t, goodLink+"\n"+whole("")[1:], "the link has white space in it")
	refused(t, `knock://"`, `the link has '"' in it, which no link has`)
	refused(t, whole(goodLink)+"0", "something follows the link's end")
	refused(t, whole("knock://a/host="+strings.Repeat("a", MaxLink)), "the link has 2076 bytes; at most 2048 are possible")
}

func TestAHostThatNoLinkCanHaveIsRefused(t *testing.T) {
	p, problems := ParseProfile("mysql.toml", []byte("sequence = [\"7421/tcp\", \"3190/udp\"]\nopen = [\"3306/tcp\"]\n"))
	if problems.HasErrors() {
		t.Fatal(problems)
	}
	for host, message := range map[string]string{
		"fe80::1%eth0": "fe80::1%eth0 has a zone: it is the name of an interface of one machine, and a link is for others",
		"db1:22":       "a host has no port",
		"[::1]":        "an address has no brackets here",
		"a b":          `"a b" is not a host`,
		"..":           `".." is not a host`,
		"db1..lan":     `"db1..lan" is not a host`,
		".lan":         `".lan" is not a host`,
		"":             "the host is empty",
	} {
		p.Hosts = []string{"db1.example.com", host}
		_, err := Link(p, nil)
		if e := new(SyntaxError); !errors.As(err, &e) || e.Message != message || e.Hint == "" {
			t.Errorf("%q: error %v, want %q", host, err, message)
		}
	}
	p.Hosts = slices.Repeat([]string{"db1.example.com"}, maxList)
	if _, err := Link(p, nil); err == nil || err.Error() != "the link would have 2117 bytes; at most 2048 are possible" {
		t.Errorf("128 hosts: error %v", err)
	}
	p.Hosts = nil
	if _, err := Link(p, nil); err == nil {
		t.Error("a link without a host")
	}
}

// Whatever a link holds, it is refused, or it is a profile that a file can hold and another link.
func FuzzLink(f *testing.F) {
	f.Add(goodLink)
	f.Add(signedLink)
	f.Add(signedLink + ",expires=2027-01-31T12:00:00Z")
	f.Fuzz(func(t *testing.T, text string) {
		for _, link := range []string{text, whole(text)} {
			l, err := ParseLink(link)
			if err != nil {
				if e := new(SyntaxError); !errors.As(err, &e) || e.Message == "" || e.Text != "" {
					t.Fatalf("error %#v", err)
				}
				continue
			}
			if inFile, problems := ParseProfile(l.Profile.Name+".toml", l.Text); problems.HasErrors() || same(l.Profile, inFile) != "" {
				t.Fatalf("%s\n%v", l.Text, problems)
			}
			again, err := Link(l.Profile, l.Key)
			if err != nil && len(link) > MaxLink-200 {
				continue // it was written with shorter times, as "1d" for "24h"
			}
			back, err2 := ParseLink(again)
			if err != nil || err2 != nil || same(l.Profile, back.Profile) != "" || cmp.Diff(l.Key, back.Key) != "" {
				t.Fatalf("%s becomes %s: %v, %v", link, again, err, err2)
			}
		}
	})
}

func TestALinkIsFoundInWhateverText(t *testing.T) {
	link, other := whole(goodLink), whole(strings.Replace(goodLink, "db1", "db2", 1))
	for _, c := range []struct {
		name, text string
		links      []string
		begun      string
		goesOn     bool
	}{
		{"nothing", "", nil, "", false},
		{"no link", "ssh: no route to host", nil, "", false},
		{"alone", link, []string{link}, "", false},
		{"in a sentence", "take '" + link + "', please", []string{link}, "", false},
		{"words behind it", link + "\nmysql 8000\n", []string{link}, "", false},
		{"a digit right behind it", link + "0", nil, link + "0", false},
		{"a key right behind it", link + ",foo=1 and", nil, link + ",foo=1", false},
		{"in lines", link[:20] + "\r\n  " + link[20:50] + "\n" + link[50:] + "\n", []string{link}, "", false},
		{"twice", link + " " + link, []string{link}, "", false},
		{"two", link + " " + other, []string{link, other}, "", false},
		{"one that is cut off before it", link[:40] + " " + link, []string{link}, "", false},
		{"one whose sum is cut off behind it", link + "\n" + other[:len(other)-1], []string{link}, "", false},
		{"the first line", "> " + link[:40] + "\n", nil, link[:40], true},
		{"its last digit is missing", link[:len(link)-1], nil, link[:len(link)-1], true},
		{"the beginning alone", "knock://", nil, "knock://", true},
		{"a changed digit", link[:30] + "x" + link[30:] + " behind", nil, link[:30] + "x" + link[30:], false},
		{"a letter that no link has", link[:30] + "–" + link[30:], nil, link[:30] + "–", false},
		{"cut off in quotes", `"` + link[:40] + `"`, nil, link[:40], true},
		{"far too long", "knock://" + strings.Repeat("a", 1<<16), nil, "knock://" + strings.Repeat("a", MaxLink-8), false},
	} {
		links, begun := FindLinks(c.text)
		if !slices.Equal(links, c.links) || begun != c.begun {
			t.Errorf("%s: %q and %q, want %q and %q", c.name, links, begun, c.links, c.begun)
		}
		if goesOn := LinkGoesOn(c.text); goesOn != c.goesOn {
			t.Errorf("%s: it goes on: %v, want %v", c.name, goesOn, c.goesOn)
		}
	}
}
