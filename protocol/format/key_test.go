package format

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"knockkit/protocol"
)

func TestAKeyFileIsReadBackAsItWasWritten(t *testing.T) {
	k := &KeyFile{
		Key:     protocol.Key{Profile: "admin", User: "alice", Audience: "db1.example.com", Secret: [protocol.KeySize]byte{1, 255}},
		Added:   time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC),
		Expires: time.Date(2027, 2, 2, 3, 4, 5, 0, time.UTC),
	}
	back, problems := ParseKeyFile("alice.key", KeyFileText(k))
	if diff := cmp.Diff(k, back); diff != "" || len(problems) > 0 {
		t.Errorf("%v\n%s", problems, diff)
	}
	k.Expires, k.Disabled = time.Time{}, true
	back, problems = ParseKeyFile("alice.key", KeyFileText(k))
	if diff := cmp.Diff(k, back); diff != "" || len(problems) > 0 {
		t.Errorf("%v\n%s", problems, diff)
	}
}

func TestAKeyOpensUntilItExpiresAndUnlessItIsDisabled(t *testing.T) {
	now := time.Unix(1764705870, 0)
	for name, c := range map[string]struct {
		key  KeyFile
		want bool
	}{
		"no end":          {KeyFile{}, true},
		"ends in a while": {KeyFile{Expires: now.Add(time.Second)}, true},
		"ends now":        {KeyFile{Expires: now}, false},
		"disabled":        {KeyFile{Disabled: true}, false},
	} {
		if got := c.key.Usable(now); got != c.want {
			t.Errorf("%s: usable is %v", name, got)
		}
	}
}

func TestABadKeyFileIsRefusedWithoutItsSecret(t *testing.T) {
	secret := KeyText([protocol.KeySize]byte{1, 2, 3})
	good := string(KeyFileText(&KeyFile{Key: protocol.Key{Profile: "admin", User: "alice", Audience: "db1", Secret: [protocol.KeySize]byte{1, 2, 3}}}))
	line := "key = \"" + secret + "\""
	for _, c := range []struct{ name, old, text, what string }{
		{"a character is missing", secret, secret[1:], "alice.key:5:7: error: this is no key"},
		{"no quotes", line, "key = " + secret, "alice.key:5:"},
		{"no end", line, line[:len(line)-1], "alice.key:5:"},
		{"no name", line, "\"" + secret + "\"", "alice.key:5:"},
		{"the name twice", line, line + "\n" + line, "alice.key:6:"},
		{"it is a name", line, secret + " = 1", "there is no key"},
		{"another's value", `"alice"`, `"` + secret + `"`, "is no name of a user"},
		{"half of it", `"alice"`, `"` + strings.ToUpper(secret[:22]) + `"`, "is no name of a user"},
		{"an audience with a space", `"db1"`, `"d b"`, "is no audience"},
		{"a user in capitals", `"alice"`, `"Alice"`, `"Alice" is no name of a user`},
		{"no user", `user = "alice"`, "", "the key's file has no `user`"},
		{"a word for a time", line, line + "\nexpires = \"soon\"", "this is no time"},
		{"no end, as the zero time", line, line + "\nexpires = \"0001-01-01T00:00:00Z\"", "this is no time"},
		{"a time that cannot be written", line, line + "\nexpires = \"9999-12-31T23:59:59-01:00\"", "this is no time"},
	} {
		text := strings.Replace(good, c.old, c.text, 1)
		k, problems := ParseKeyFile("alice.key", []byte(text))
		said := problems.Error()
		if k != nil || !strings.Contains(said, c.what) {
			t.Errorf("%s: want %q, got %s", c.name, c.what, said)
		}
		if strings.Contains(said, secret[:10]) || strings.Contains(said, strings.ToUpper(secret[:10])) {
			t.Errorf("%s: it tells the secret: %s", c.name, said)
		}
	}
}

func TestTheMistakesOfAKeyFileShowNoPartOfAKey(t *testing.T) {
	const key = "AQIDAQIDAQIDAQIDAQIDAQIDAQIDAQIDAQIDAQIDAQI"
	names := "profile = \"ssh\"\nuser = \"alice\"\naudience = \"db1\"\n"
	for name, text := range map[string]string{
		"a cut key":          names + `key = "` + key[:40] + `"`,
		"a longer one":       names + `key = "` + key + key + `"`,
		"without quotes":     names + `key = ` + key,
		"not closed":         names + `key = "` + key,
		"without its name":   names + key,
		"as a list":          names + `key = ["` + key + `"]`,
		"under another name": names + `secret = "` + key + `"`,
		"twice":              names + `key = "` + key + "\"\nkey = \"" + key + `"`,
		"in a table":         names + `key = { a = "` + key + `" }`,
	} {
		t.Run(name, func(t *testing.T) {
			k, problems := ParseKeyFile("ssh.key", []byte(text))
			if k != nil || !problems.HasErrors() || strings.Contains(problems.Error(), key[:8]) {
				t.Errorf("key %v\n%s", k != nil, problems.Error())
			}
		})
	}
}

// Whatever a key's file holds, it is refused without a secret of that length, or written as it was read.
func FuzzKeyFile(f *testing.F) {
	f.Add(string(KeyFileText(&KeyFile{Key: protocol.Key{Profile: "admin", User: "alice", Audience: "db1"}})))
	f.Fuzz(func(t *testing.T, text string) {
		k, problems := ParseKeyFile("alice.key", []byte(text))
		if (k == nil) != problems.HasErrors() {
			t.Fatalf("key %v with %v", k != nil, problems)
		}
		if maybeSecret.MatchString(problems.Error()) {
			t.Fatalf("it may tell the secret: %s", problems)
		}
		if k == nil {
			return
		}
		back, problems := ParseKeyFile("alice.key", KeyFileText(k))
		if diff := cmp.Diff(k, back); diff != "" || len(problems) > 0 {
			t.Fatalf("%v\n%s", problems, diff)
		}
	})
}
