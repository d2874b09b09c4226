package doctor

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"knockkit/internal/files"
	"knockkit/internal/say"
	"knockkit/protocol"
	"knockkit/server"
	"knockkit/server/keys"
)

// soonOver is how long before its end a key is mentioned.
const soonOver = 7 * 24 * time.Hour

// signed returns the signed ones of the profiles.
func (f *facts) signed() []*protocol.Profile {
	return slices.DeleteFunc(slices.Clone(f.profiles()), func(p *protocol.Profile) bool { return p.Signed == nil })
}

// running is about the service, which signed profiles need.
func running(f *facts) []Finding {
	signed := f.signed()
	switch shut := "signed profiles are shut until " + say.Clock(f.Status.Opens, f.now) + ": " + string(f.Status.Why); {
	case len(signed) == 0:
		return nil
	case f.Service && f.Status.NoTokens:
		return []Finding{{IDService, Broken, "nobody can open signed profiles: the kernel has no tokens that are valid now",
			"the service runs, and gives it none", "see why: systemctl status knockd, and the service's log"}}
	case f.Service && f.Status.Why == server.ShutClock:
		return []Finding{{IDService, Broken, shut, "tokens of until then may have been seen",
			"set the clock, if it is wrong; if it was wrong before, make new keys: see docs/signed.md"}}
	case f.Service && f.Status.Why != "":
		return []Finding{{IDService, Note, shut, "after a boot, a flush or a first start that takes up to a minute", ""}}
	case f.Service:
		return []Finding{{ID: IDService, Severity: OK, Found: "the service is running"}}
	}
	return []Finding{{IDService, Broken, fmt.Sprintf("the service is not running, and profile %s is signed", signed[0].Name),
		"it gives the kernel new tokens every 30 seconds: without it nobody can open a signed profile", "systemctl enable --now knockd, or knockd run"}}
}

// keysOfProfiles is about the keys of signed profiles.
func keysOfProfiles(f *facts) (all []Finding) {
	if !f.saw(whatKeys) {
		return nil
	}
	for _, p := range f.signed() {
		for _, err := range f.BrokenKeys {
			if b := new(keys.BrokenError); errors.As(err, &b) && filepath.Base(filepath.Dir(b.File)) == p.Name {
				all = append(all, brokenKey(b, p.Name))
			}
		}
		usable := 0
		for _, k := range keys.Of(f.Keys, p.Name, "") {
			all = append(all, f.key(k)...)
			if k.Usable(f.now) {
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

// brokenKey says that a file cannot be used, as others may read or write it.
func brokenKey(b *keys.BrokenError, profile string) Finding {
	todo := "take the file away, and make a new key: knockd key add USER " + profile
	if e := new(files.ExposedError); errors.As(b, &e) {
		todo = e.Todo
	}
	return Finding{IDKeys, Broken, fmt.Sprintf("the key in %s cannot be used: %v", b.File, b.Err), "its user cannot open profile " + profile, todo}
}

// key says what is wrong with one that can be read.
func (f *facts) key(k keys.Entry) (all []Finding) {
	whose := fmt.Sprintf("the key %s of %s for profile %s", k.ID(), k.User, k.Profile)
	anew := fmt.Sprintf("knockd key add %s %s", k.User, k.Profile)
	if f.audience != "" && k.Audience != f.audience {
		todo := fmt.Sprintf("set audience = %q in knockd.toml if that is this server's name, else %s", k.Audience, anew)
		if f.Settings.Fleet != nil {
			todo = "the fleet's name is the audience of its servers: " + anew
		}
		all = append(all, Finding{IDKeys, Warning, fmt.Sprintf("%s is for the audience %q, and this server is %q", whose, k.Audience, f.audience),
			"whoever copies a token there may use it here", todo})
	}
	if k.Usable(f.now) && !k.Expires.IsZero() && k.Expires.Sub(f.now) <= soonOver {
		all = append(all, Finding{IDKeys, Warning, fmt.Sprintf("%s expires on %s", whose, k.Expires.UTC().Format("2006-01-02 15:04 UTC")),
			"from then on it opens nothing", anew})
	}
	return all
}
