package doctor

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"knockkit/internal/files"
	"knockkit/protocol"
	"knockkit/protocol/format"
)

// Key is a file of the folder of keys, and its key or why that cannot be used.
type Key struct {
	Profile string // whose folder it is in
	File    string
	Key     *format.KeyFile // nil: it cannot be used
	Err     error
	Exposed bool // everybody on this host can read it
}

// soonOver is how long before its end a key is mentioned.
const soonOver = 7 * 24 * time.Hour

// signed returns the signed ones of the profiles.
func (f *facts) signed() []*protocol.Profile {
	return slices.DeleteFunc(slices.Clone(f.profiles()), func(p *protocol.Profile) bool { return p.Signed == nil })
}

// running is about the service, which signed profiles need.
func running(f *facts) []Finding {
	signed := f.signed()
	switch {
	case len(signed) == 0:
		return nil
	case f.Service:
		return []Finding{{ID: IDService, Severity: OK, Found: "the service is running"}}
	}
	return []Finding{{IDService, Broken, fmt.Sprintf("the service is not running, and profile %s is signed", signed[0].Name),
		"it gives the kernel new tokens every 30 seconds: without it nobody can open a signed profile", "systemctl enable --now knockd, or knockd run"}}
}

// keys is about the keys of signed profiles.
func keys(f *facts) (all []Finding) {
	if !f.saw(whatKeys) {
		return nil
	}
	for _, p := range f.signed() {
		usable := 0
		for _, k := range f.Keys {
			if k.Profile != p.Name {
				continue
			}
			all = append(all, f.key(k)...)
			if k.Key != nil && k.Key.Usable(f.now) {
				usable++
			}
		}
		if usable == 0 {
			all = append(all, Finding{IDKeys, Broken, fmt.Sprintf("profile %s is signed, and it has no key that can be used", p.Name),
				"nobody can open it", "knockd key add USER " + p.Name})
		} else {
			all = append(all, Finding{ID: IDKeys, Severity: OK, Found: fmt.Sprintf("keys of profile %s that can be used: %d", p.Name, usable)})
		}
	}
	return all
}

// key says what is wrong with one.
func (f *facts) key(k Key) (all []Finding) {
	if k.Key == nil {
		todo := "take the file away, and make a new key: knockd key add USER " + k.Profile
		if e := new(files.ExposedError); errors.As(k.Err, &e) {
			todo = e.Todo
		}
		return []Finding{{IDKeys, Broken, fmt.Sprintf("the key in %s cannot be used: %v", k.File, k.Err), "its user cannot open profile " + k.Profile, todo}}
	}
	if k.Exposed {
		all = append(all, Finding{IDKeys, Warning, "everybody on this host can read the key in " + k.File,
			"whoever has read it can open profile " + k.Profile, "chmod go-r " + k.File + ", and where others have accounts, give the user a new key"})
	}
	whose := fmt.Sprintf("the key %s of %s for profile %s", k.Key.ID(), k.Key.User, k.Profile)
	anew := fmt.Sprintf("knockd key add %s %s", k.Key.User, k.Profile)
	if f.audience != "" && k.Key.Audience != f.audience {
		all = append(all, Finding{IDKeys, Warning, fmt.Sprintf("%s is for the audience %q, and this server is %q", whose, k.Key.Audience, f.audience),
			"a token for another audience is worth nothing here", fmt.Sprintf("set audience = %q in knockd.toml if that is this server's name, else %s", k.Key.Audience, anew)})
	}
	if end := k.Key.Expires; k.Key.Usable(f.now) && !end.IsZero() && end.Sub(f.now) <= soonOver {
		all = append(all, Finding{IDKeys, Warning, fmt.Sprintf("%s expires on %s", whose, end.UTC().Format("2006-01-02 15:04 UTC")),
			"from then on it opens nothing", anew})
	}
	return all
}
