package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"knockkit/client"
	"knockkit/internal/command"
	"knockkit/internal/config"
	"knockkit/internal/say"
	"knockkit/protocol"
	"knockkit/protocol/format"
)

// clock is how times of the day are written.
const clock = "15:04:05 UTC"

// sign gives the target of a signed profile its key. A closing knock needs none.
func sign(c *cli.Context, t *client.Target, p chosen, entry config.Entry) error {
	if t.Profile.Signed == nil || c.Command.Name == "close" {
		return nil
	}
	key, err := p.key(c, entry)
	if err != nil {
		return err
	}
	if err := usable(entry.Name, key.KeyFile, time.Now()); err != nil {
		return err
	}
	t.Key, t.Indexes = &key.Key, new(client.IndexMemory)
	if dir, err := stateFolder(os.Getenv, tokensState); err == nil {
		t.Indexes = &client.IndexFiles{Dir: dir}
	}
	return nil
}

// key reads the key of a signed profile, which is beside the profile: in the folder "keys" of the
// configuration folder, or of that of a file outside. It says who else can read or write it.
func (p chosen) key(c *cli.Context, entry config.Entry) (config.KeyEntry, error) {
	f, err := folders(c, os.Getenv)
	switch {
	case p.stdin():
		return config.KeyEntry{}, command.Usagef("give it a file", "profile %s is signed, and has its key in a file beside it: it cannot come from standard input", entry.Name)
	case p.file != "" && (err != nil || !sameFile(p.file, f.ProfileFile(entry.Name))):
		f = config.Folders{Dirs: []string{filepath.Dir(p.file)}, Lax: true}
	case err != nil:
		return config.KeyEntry{}, err
	}
	key, err := f.Key(entry.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return key, command.Usagef("knock enroll writes it, of a link that the server prints: knockd key add USER PROFILE",
			"profile %s is signed, and there is no key in %s", entry.Name, key.File)
	}
	warnExposed(c, key.Exposed)
	if key.Readable {
		words := printer(c)
		words.Warning("everybody on this host can read the key of %s", entry.Name)
		words.Advice("chmod go-r " + command.Shell([]string{key.File}))
	}
	return key, command.ProfileError(c, err, p.typed)
}

// keyText says whose key it is, and until when it opens.
func keyText(k *format.KeyFile) string {
	text := fmt.Sprintf("%s of %s, audience %s", k.ID(), k.User, k.Audience)
	switch {
	case k.Disabled:
		text += ", disabled"
	case !k.Usable(time.Now()):
		text += ", expired " + expiry(k)
	case !k.Expires.IsZero():
		text += ", until " + expiry(k)
	}
	return text
}

func expiry(k *format.KeyFile) string { return k.Expires.UTC().Format(time.DateOnly + " " + clock) }

func sameFile(x, y string) bool {
	one, err := os.Stat(x)
	other, errOther := os.Stat(y)
	return err == nil && errOther == nil && os.SameFile(one, other)
}

// usable returns why a key opens nothing.
func usable(name string, k *format.KeyFile, now time.Time) error {
	hint := fmt.Sprintf("a new link is printed on the server by knockd key add %s %s; then, here: knock enroll --force", k.User, k.Profile)
	switch {
	case k.Usable(now):
		return nil
	case k.Disabled:
		return command.Usagef(hint, "the key of %s for profile %s is disabled", k.User, name)
	}
	return command.Usagef(hint, "the key of %s for profile %s has expired: %s", k.User, name, expiry(k))
}

// waiting says that a knock waits for the tokens of the next slot.
func waiting(t client.Target, until time.Time) string {
	return fmt.Sprintf("%s: all %d tokens of %s for this half minute are used: waiting for the next, until %s (%s)",
		t.Profile.Name, protocol.Indexes, t.Key.User, until.UTC().Format(clock), say.Latency(time.Until(until)))
}

// waits says once for how long knocks wait, however many hosts do.
type waits struct {
	mu    sync.Mutex
	until time.Time
}

// first reports whether it is to be said.
func (w *waits) first(until time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !until.After(w.until) {
		return false
	}
	w.until = until
	return true
}

// signedDetails says what a signed knock was, without its token.
func signedDetails(t client.Target, slot int64) string {
	return fmt.Sprintf("signed knock: %s, user %s, audience %s, slot %d, which begins at %s",
		t.Profile.Signed.Carrier, t.Key.User, t.Key.Audience, slot, protocol.SlotStart(slot).UTC().Format(clock))
}

// unkept returns why used tokens are not kept for other programs; nil: they are.
func unkept(t client.Target) error {
	if files, ok := t.Indexes.(*client.IndexFiles); ok {
		return files.Err()
	}
	_, err := stateFolder(os.Getenv, tokensState)
	return err
}
