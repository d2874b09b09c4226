package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"knockkit/internal/command"
	"knockkit/internal/config"
	"knockkit/internal/files"
	"knockkit/internal/say"
	"knockkit/protocol"
	"knockkit/protocol/format"
)

// part is a file of what is enrolled: the profile, or its key.
type part struct {
	what string // "profile" or "key"
	name string // which
	file string // where it is written
	text []byte

	there string // the file that has its place now; "" for none
	same  bool   // that says the same to a client
	err   error  // why that cannot be used
	says  string // what is in it, and what in the link; may be empty
}

// enroll writes the key of a signed profile and the profile's file, unless there are such that say the same
// to a client. The key is first: a profile without one opens nothing.
func enroll(c *cli.Context, words *say.Printer, l format.Linked) error {
	if named := cmp.Or(c.String("config"), os.Getenv("KNOCK_CONFIG")); named != "" {
		if err := os.MkdirAll(named, 0o700); errors.Is(err, fs.ErrPermission) {
			return writeError(err) // of other errors, folders says more
		}
	}
	f, err := folders(c, os.Getenv)
	if err != nil {
		return err
	}
	parts, err := partsOf(f, l)
	if err != nil {
		return command.ProfileError(c, err, l.Profile.Name)
	}
	for _, p := range parts {
		if p.there != "" && !p.same && (!c.Bool("force") || isFolder(p.there)) {
			return p.isThere()
		}
	}
	if err := write(parts, c.Bool("force")); err != nil {
		return err
	}
	// As it will be loaded, with what is to be said of the folder.
	entry, err := load(c, l.Profile.Name, l.Profile.Name)
	if err == nil && l.Key != nil {
		_, err = chosenAs(l.Profile.Name).key(c, entry)
	}
	if err != nil {
		return err
	}
	for _, p := range parts {
		p.sayDone(words)
	}
	if l.Key == nil {
		if old := f.NewKeyFile(l.Profile.Name); isFile(old) {
			words.Note("the key that is there is not needed any more: %s", old)
		}
		return sayNext(c, words, l.Profile)
	}
	if err := usable(l.Profile.Name, l.Key, time.Now()); err != nil {
		warn(words, err)
		return nil
	}
	if !l.Key.Expires.IsZero() {
		words.Note("it opens until %s", expiry(l.Key))
	}
	return sayNext(c, words, l.Profile)
}

// partsOf compares what a link says with what there is.
func partsOf(f config.Folders, l format.Linked) ([]part, error) {
	name := l.Profile.Name
	if err := f.Check(); err != nil && !f.Lax {
		return nil, err
	}
	profile := part{what: "profile", name: name, file: f.NewFile(name), text: l.Text}
	there, err := f.Load(name)
	if isNew := errors.As(err, new(*config.UnknownProfileError)); !isNew {
		if there.File == "" {
			return nil, err
		}
		profile.there, profile.err = there.File, there.Err
		profile.same = err == nil && sameForClient(there.Profile, l.Profile)
	}
	if l.Key == nil {
		return []part{profile}, nil
	}
	if err := f.CheckKeys(); err != nil && !f.Lax {
		return nil, err
	}
	key := part{what: "key", name: l.Key.ID() + " of " + l.Key.User, file: f.NewKeyFile(name), text: format.KeyFileText(l.Key)}
	is, err := f.Key(name)
	if !errors.Is(err, fs.ErrNotExist) {
		key.there, key.err = is.File, err
	}
	if err == nil {
		key.same = sameKey(is.KeyFile, l.Key)
		key.says = fmt.Sprintf(": it is %s; the link has %s", keyText(is.KeyFile), keyText(l.Key))
	}
	return []part{key, profile}, nil
}

// write writes what is new or is to be replaced. Where it fails all is as it was.
func write(parts []part, replace bool) error {
	var undo []func() error
	for i, p := range parts {
		if p.same {
			continue
		}
		old, errOld := files.Read(p.file, protocol.MaxProfileSize)
		err := files.Write(p.file, p.text, replace)
		if errors.Is(err, fs.ErrExist) { // since it was looked for
			if is, failed := files.Read(p.file, protocol.MaxProfileSize); failed == nil && bytes.Equal(is, p.text) {
				parts[i].there, parts[i].same = p.file, true
				continue
			}
		}
		if err != nil {
			for _, back := range undo {
				err = errors.Join(err, back())
			}
		}
		switch {
		case errors.Is(err, fs.ErrExist):
			p.there, p.says = p.file, ""
			_, p.err = os.Stat(p.file)
			return p.isThere()
		case err != nil:
			return writeError(err)
		}
		undo = append(undo, func() error {
			if errOld == nil {
				return files.Write(p.file, old, true)
			}
			return os.Remove(p.file)
		})
	}
	return nil
}

// isThere says why what is there is not replaced.
func (p part) isThere() error {
	const another = "give this one a name of its own: --name NAME"
	exposed := new(files.ExposedError)
	switch {
	case isFolder(p.there):
		return command.Usagef("remove it, or "+another, "%s is a folder", p.there)
	case errors.As(p.err, &exposed):
		return command.Usagef(exposed.Todo+"\nor replace it with --force", "there is a %s already, but %w", p.what, p.err)
	case p.err != nil:
		return command.Usagef("replace it with --force, or "+another, "%s is there already, and cannot be used: %w", p.there, p.err)
	}
	return command.Usagef("replace it with --force, or "+another, "%s is there already, and says something else%s", p.there, p.says)
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

func (p part) sayDone(words *say.Printer) {
	switch {
	case p.same:
		words.Note("%s %s is unchanged: %s", p.what, p.name, p.there)
		if p.there == p.file { // another is not the user's own
			restrict(words, p.file)
		}
	case p.there == p.file:
		words.Note("%s %s replaced: %s", p.what, p.name, p.file)
	default:
		words.Note("%s %s written: %s", p.what, p.name, p.file)
	}
}

// restrict lets nobody else read or write a file that was there.
func restrict(words *say.Printer, file string) {
	switch others, err := files.Restrict(file); {
	case err != nil:
		words.Warning("others than you can read or write it: %s", err)
	case others:
		words.Note("only you can read it now: its mode is 0600")
	}
}

// sameForClient reports whether two profiles have the same link, but for the key.
func sameForClient(x, y *protocol.Profile) bool {
	named, key := *x, &format.KeyFile{Key: protocol.Key{Profile: y.Name}}
	named.Name = y.Name
	one, err := format.Link(&named, key)
	other, errOther := format.Link(y, key)
	return err == nil && errOther == nil && one == other
}

// sameKey reports whether a key that is there is that of a link, which does not say when it was made.
func sameKey(there, linked *format.KeyFile) bool {
	named := *there
	named.Added = time.Time{}
	return named == *linked
}

func sayNext(c *cli.Context, words *say.Printer, p *protocol.Profile) error {
	typed := p.Name
	if c.App.Command(p.Name) != nil { // a command's name is taken for the command
		typed += "@" + p.Hosts[0]
	}
	words.Note("to open %s on %s: knock %s", joined(say.Texts(p.Open)), say.Names(p.Hosts), typed)
	return nil
}

func writeError(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return &command.Error{Code: command.Privilege, Err: err, Hint: "choose a folder of your own with --config DIR"}
	}
	return err
}
