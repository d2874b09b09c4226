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
	secret := KeyText([protocol.KeySize]byte{7})
	good := string(KeyFileText(&KeyFile{Key: protocol.Key{Profile: "admin", User: "alice", Audience: "db1", Secret: [protocol.KeySize]byte{7}}}))
	for what, text := range map[string]string{
		"this is no key":               strings.Replace(good, secret, secret[1:], 1),
		"is no audience":               strings.Replace(good, `"db1"`, `"d b"`, 1),
		"is no name of a user":         strings.Replace(good, `"alice"`, `"Alice"`, 1),
		"the key's file has no `user`": strings.Replace(good, `user = "alice"`, "", 1),
		"this is no time":              good + "expires = \"soon\"\n",
	} {
		k, problems := ParseKeyFile("alice.key", []byte(text))
		if k != nil || !strings.Contains(problems.Error(), what) {
			t.Errorf("want %q, got %v", what, problems)
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
