package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"knockkit/internal/command"
	"knockkit/internal/config"
	"knockkit/internal/files"
	"knockkit/internal/kernel/backend"
	"knockkit/internal/say"
	"knockkit/protocol"
	"knockkit/protocol/format"
	"knockkit/server/keys"
)

// linkFlags are those of commands that print the link of a key.
func linkFlags(more ...cli.Flag) []cli.Flag {
	return append([]cli.Flag{
		&cli.StringSliceFlag{Name: "host", Usage: "the name or address `HOST` by which the client reaches this server, instead of the profile's; may be repeated"},
		&cli.BoolFlag{Name: "qr", Usage: "draw the link as a QR code too, on standard error"},
		&cli.StringFlag{Name: "out", Usage: "write the link to `FILE`, which only you can read, and not to standard output"},
	}, more...)
}

func keyAddCommand() *cli.Command {
	return &cli.Command{
		Name: "add", Usage: "make a key for a user, and print the link that a client enrolls", ArgsUsage: "USER PROFILE", Action: on(addKey),
		Flags: linkFlags(
			&cli.StringFlag{Name: "audience", Usage: "make tokens for the server `NAME`, instead of the audience or the fleet's name in knockd.toml, else the host's name"},
			command.TimeFlag("expires", "let the key open for `TIME`, as 30d"+bareNumber),
			command.TimeFlag("old-expires", "let the other keys of the user open for `TIME` from now on"+bareNumber),
		),
		Description: `The link alone is enough for a client, so it is a secret. A user that has a key gets
another one; both open.

Example:
  knockd key add alice admin --host db1.example.com
  knockd key add alice-phone admin --host db1.example.com --qr
  knockd key add alice admin --old-expires 2d    # a new key, and two days to enroll it
  ssh db1.example.com sudo knockd key add deploy admin --host db1.example.com | knock enroll -`,
	}
}

func addKey(h *host) error {
	user, profile, err := userAndProfile(h.c)
	if err != nil {
		return err
	}
	e, err := h.signed(user, profile)
	if err != nil {
		return err
	}
	audience, err := h.audience(h.c.String("audience"))
	if err != nil {
		return err
	}
	r, err := h.ring()
	if err != nil {
		return err
	}
	if err := h.folders.Check(); err != nil {
		return usage(err)
	}
	now, expires := time.Now(), time.Time{}
	if d := command.TimeOf(h.c, "expires"); h.c.IsSet("expires") {
		if d <= 0 {
			return command.Usagef("for example --expires 30d", "a key that expires at once opens nothing")
		}
		expires = now.Add(d).Truncate(time.Second)
	}
	key := keys.New(profile, user, audience, now, expires)
	link, err := h.linkOf(e.Profile, key)
	if err != nil {
		return err
	}
	out := h.c.String("out")
	if _, err := os.Lstat(out); out != "" && !errors.Is(err, fs.ErrNotExist) {
		return command.Usagef("name another file", "%s is there already", out)
	}
	_ = r.elsewhere() // before the service may find the file
	file, err := r.folder.Add(key)
	if err == nil && out != "" {
		if err = files.Write(out, []byte(link+"\n"), false); err != nil {
			err = errors.Join(err, r.folder.Remove(file))
		}
	}
	if err != nil {
		return writeError(err)
	}
	others := keys.Of(r.all, profile, user)
	var errOld error
	if d := command.TimeOf(h.c, "old-expires"); h.c.IsSet("old-expires") {
		errOld = r.expire(others, now.Add(d).Truncate(time.Second))
	}
	st, told := r.refresh(key, nil)
	if len(e.Profile.Hosts) == 0 && !h.c.IsSet("host") {
		h.words.Warning("the client knocks on %s, which is the audience: is that how it reaches this server?", audience)
		h.words.Advice("knockd key link " + user + " " + profile + " --host HOST prints a link with another host")
	}
	h.words.Note("key %s of %s for %s at %s, in %s", key.ID(), user, profile, audience, file.File)
	if told {
		// A service that has found the file first takes the key for an old one.
		found := slices.ContainsFunc(st.Added, func(k backend.LoadedKey) bool { return k.ID == key.ID() })
		h.words.Note("%s", r.opens(e.Profile, st, found || st.Opens.IsZero()))
	}
	for _, o := range others {
		switch {
		case !o.Usable(now):
		case o.Expires.IsZero():
			h.words.Note("%s opens too, until: knockd key remove %s %s --id %s", o.ID(), user, profile, o.ID())
		default:
			h.words.Note("%s opens too, until %s", o.ID(), o.Expires.UTC().Format(time.RFC3339))
		}
	}
	if err := h.handOut(link, out); err != nil {
		return &command.Error{Code: command.Failed, Err: errors.Join(err, errOld), Hint: "the key stays, and its link can be printed again: knockd key link " + user + " " + profile + " --id " + key.ID()}
	}
	return errOld
}

// signed returns a signed profile of the folder.
func (h *host) signed(user, profile string) (config.Entry, error) {
	e, err := h.folders.Load(profile)
	if _, swapped := h.folders.Load(user); err != nil && swapped == nil {
		return e, command.Usagef("the user comes first: "+retyped([]string{user, profile}, profile, user), "there is no profile %s", profile)
	}
	if err != nil {
		return e, h.profileError(err, profile)
	}
	if err := protocol.CheckUser(user); err != nil {
		return e, command.Usagef("one key for each device is best, as alice-laptop", "%w", err)
	}
	if e.Profile.Signed == nil {
		return e, command.Usagef("its link has its sequence: knockd profile link "+profile+"; for a signed one: knockd profile new NAME --signed", "profile %s is not signed: it has no keys", profile)
	}
	return e, nil
}

// audience returns the name that tokens are for. One that is not this server's opens nothing here that
// others use.
func (h *host) audience(named string) (string, error) {
	own := h.settings.Audience
	if own == "" {
		name, err := os.Hostname()
		if err == nil {
			err = protocol.CheckAudience(name)
		}
		if err != nil && named == "" {
			return "", command.Usagef("set audience in knockd.toml, as audience = \"db1\"", "the host's name is no audience: %w", err)
		}
		own = name
	}
	if named == "" || named == own {
		return own, nil
	}
	if err := protocol.CheckAudience(named); err != nil {
		return "", command.Usagef("for example --audience db1", "--audience: %w", err)
	}
	h.words.Warning("this server goes by %s, and the key is for %s: whoever copies a token there may use it here", own, named)
	whose := "audience in knockd.toml is the server's name"
	if h.settings.Fleet != nil {
		whose = "the fleet's name, of [fleet] in knockd.toml, is the audience of its servers"
	}
	h.words.Advice(whose)
	return named, nil
}

// expire gives keys an end, unless they have an earlier one.
func (r *ring) expire(which []keys.Entry, end time.Time) error {
	for _, e := range which {
		_, err := r.folder.Change(e, func(k *format.KeyFile) bool {
			if !k.Expires.IsZero() && k.Expires.Before(end) {
				return false
			}
			k.Expires = end
			return true
		})
		if err != nil && !errors.Is(err, keys.ErrGone) { // that is an end too
			return writeError(err)
		}
	}
	return nil
}

// linkOf returns the link of a key, with the hosts that the flags or the profile name.
func (h *host) linkOf(profile *protocol.Profile, key *format.KeyFile) (string, error) {
	p := *profile
	if named := h.c.StringSlice("host"); len(named) > 0 {
		p.Hosts = named
	}
	if len(p.Hosts) == 0 {
		p.Hosts = []string{key.Audience}
	}
	link, err := format.Link(&p, key)
	if err != nil {
		return "", usage(err)
	}
	return link, nil
}

// handOut prints a link, unless it is in a file.
func (h *host) handOut(link, out string) error {
	h.draw(link)
	if out != "" {
		h.words.Note("the link is in %s: whoever has it can knock", out)
		return nil
	}
	if say.IsTerminal(h.c.App.Writer) {
		h.words.Note("whoever has this link can knock: on the client, \"knock enroll\" asks for it")
	}
	return say.Data(h.c.App.Writer, link+"\n")
}

func keyLinkCommand() *cli.Command {
	return &cli.Command{
		Name: "link", Usage: "print the link of a key that there is", ArgsUsage: "USER PROFILE", Action: onKeys(linkKey),
		Flags: linkFlags(&cli.StringFlag{Name: "id", Usage: "that of the key `ID`, as key list shows it, instead of the newest"}),
		Description: `For a client that has lost its file, or where the profile's ports have changed.

Example:
  knockd key link alice admin --host db1.example.com`,
	}
}

func linkKey(r *ring, user, profile string, which []keys.Entry) error {
	e, err := r.signed(user, profile)
	if err != nil {
		return err
	}
	key := which[len(which)-1]
	link, err := r.linkOf(e.Profile, key.KeyFile)
	if err != nil {
		return err
	}
	if !key.Usable(time.Now()) {
		r.words.Warning("the key %s opens nothing: it is %s", key.ID(), stateOfKey(key, time.Now()))
	}
	out := r.c.String("out")
	if out != "" {
		err := files.Write(out, []byte(link+"\n"), false)
		if errors.Is(err, fs.ErrExist) {
			return command.Usagef("name another file", "%s is there already", out)
		}
		if err != nil {
			return writeError(fmt.Errorf("write the link: %w", err))
		}
	}
	return r.handOut(link, out)
}
