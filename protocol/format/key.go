package format

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"strings"
	"time"

	"knockkit/internal/tomldoc"
	"knockkit/protocol"
)

// MaxKeyFileSize is how many bytes of a key's file are read: far more than it needs.
const MaxKeyFileSize = 4 << 10

// KeyFile is a file with a key: NAME.key of a client, USER.key of a server.
type KeyFile struct {
	protocol.Key
	Added    time.Time // when it was made; the zero value: not known
	Expires  time.Time // from then on it opens nothing; the zero value: it has no end
	Disabled bool      // it opens nothing until it is enabled again
}

// Usable reports whether the key opens anything at a time.
func (k *KeyFile) Usable(now time.Time) bool {
	return !k.Disabled && (k.Expires.IsZero() || now.Before(k.Expires))
}

// KeyText writes a secret as files and links have it: base64url without padding.
func KeyText(secret [protocol.KeySize]byte) string {
	return base64.RawURLEncoding.EncodeToString(secret[:])
}

// ParseKey reads what [KeyText] writes. The error does not repeat the text.
func ParseKey(text string) (secret [protocol.KeySize]byte, err error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) != protocol.KeySize {
		return secret, fmt.Errorf("this is no key: %d bytes in base64url, which is %d characters", protocol.KeySize, base64.RawURLEncoding.EncodedLen(protocol.KeySize))
	}
	return [protocol.KeySize]byte(b), nil
}

// KeyFileText returns the text of a key's file, which [ParseKeyFile] reads back.
func KeyFileText(k *KeyFile) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "# The key of %s for profile %s at %s. Whoever has it can open the profile: keep it secret.\n", k.User, k.Profile, k.Audience)
	fmt.Fprintf(&b, "profile = %q\nuser = %q\naudience = %q\nkey = %q\n", k.Profile, k.User, k.Audience, KeyText(k.Secret))
	for _, t := range []struct {
		key string
		at  time.Time
	}{{"added", k.Added}, {"expires", k.Expires}} {
		if !t.at.IsZero() {
			fmt.Fprintf(&b, "%s = %q\n", t.key, t.at.UTC().Format(time.RFC3339))
		}
	}
	if k.Disabled {
		b.WriteString("disabled = true\n")
	}
	return []byte(b.String())
}

// ParseKeyFile reads the text of a key's file. All its problems are reported in one run, with the line
// of each but without what is in it, which may be the secret; the key is nil where any is an error.
func ParseKeyFile(file string, data []byte) (*KeyFile, Diagnostics) {
	doc := tomldoc.Parse(data, MaxKeyFileSize)
	k := &KeyFile{}
	if doc.Errors() == 0 {
		k.read(doc)
	}
	if doc.Errors() > 0 {
		k = nil
	}
	problems := Diagnose(file, doc)
	for i := range problems {
		d := &problems[i]
		d.Width, d.Text = 0, ""
		d.Message, d.Hint = maybeSecret.ReplaceAllString(d.Message, "…"), maybeSecret.ReplaceAllString(d.Hint, "…")
	}
	return k, problems
}

// maybeSecret matches the greater part of a key, wherever in the file it was put.
var maybeSecret = regexp.MustCompile(`[A-Za-z0-9+/_-]{20,}`)

func (k *KeyFile) read(doc *tomldoc.Document) {
	root := doc.Root()
	text := func(key string, parse func(string) error) {
		f := root.Text(key)
		if f == nil {
			if !root.Has(key) {
				doc.Error(tomldoc.Span{}, fmt.Sprintf("the key's file has no `%s`", key), `"knockd key add" and "knock enroll" write these files`)
			}
			return
		}
		if err := parse(f.Value); err != nil {
			doc.Error(f.At, err.Error(), "")
		}
	}
	text("profile", func(s string) error { k.Profile = s; return CheckName(s) })
	text("user", func(s string) error { k.User = s; return protocol.CheckUser(s) })
	text("audience", func(s string) error { k.Audience = s; return protocol.CheckAudience(s) })
	text("key", func(s string) (err error) { k.Secret, err = ParseKey(s); return err })
	at := func(key string) (t time.Time) {
		if f := root.Text(key); f != nil {
			at, err := time.Parse(time.RFC3339, f.Value)
			if t = at.UTC().Truncate(time.Second); err != nil || t.Year() < 1970 || t.Year() > 9999 { // the year 1 would be no end
				doc.Error(f.At, "this is no time", `for example "2027-01-31T12:00:00Z"`)
			}
		}
		return t
	}
	k.Added, k.Expires = at("added"), at("expires")
	if f := root.Bool("disabled"); f != nil {
		k.Disabled = f.Value
	}
	root.Unknown(func(string) string { return "" })
}
