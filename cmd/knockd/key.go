package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"knockkit/internal/command"
	"knockkit/internal/kernel/claim"
	"knockkit/internal/say"
	"knockkit/protocol"
	"knockkit/protocol/format"
	"knockkit/server"
	"knockkit/server/keys"
	"knockkit/server/service"
)

func keyCommand() *cli.Command {
	id := func() cli.Flag {
		return &cli.StringFlag{Name: "id", Usage: "only the key `ID` of the user, as key list shows it"}
	}
	keep := func() cli.Flag {
		return &cli.BoolFlag{Name: "keep-leases", Usage: "let what the user has opened go on"}
	}
	return &cli.Command{
		Name:  "key",
		Usage: "give users of signed profiles their keys, and take them back",
		Description: `A signed profile is opened by one packet with a token, which only a key can make. Each
user, or better each device, has a key of its own. All of this acts at once, with a
service running or not.

Example:
  knockd key add alice admin
  knockd key list`,
		Subcommands: []*cli.Command{
			keyAddCommand(), keyLinkCommand(), keyListCommand(),
			{Name: "disable", Usage: "let a user's keys open nothing until they are enabled", ArgsUsage: "USER PROFILE", Action: onKeys(disableKeys), Flags: []cli.Flag{id(), keep()},
				Description: "The user's leases end too, unless another key stays.\n\nExample:\n  knockd key disable alice admin"},
			{Name: "enable", Usage: "let keys open again that were disabled", ArgsUsage: "USER PROFILE", Action: onKeys(enableKeys), Flags: []cli.Flag{id()},
				Description: "They open within a minute: tokens of before may have been used.\n\nExample:\n  knockd key enable alice admin"},
			{Name: "remove", Usage: "take a user's keys away, for good", ArgsUsage: "USER PROFILE", Action: onKeys(removeKeys), Flags: []cli.Flag{id(), keep()},
				Description: "The user's leases end too, unless another key stays. Connections go on: knockd revoke\nPROFILE --user USER --cut ends them.\n\nExample:\n  knockd key remove alice admin\n  knockd key remove alice admin --id 1f2e3d4c"},
		},
	}
}

// ring is the keys on disk, as a command found them.
type ring struct {
	*host
	folder keys.Folder
	state  keys.Store
	all    []keys.Entry
	broken []error

	elsewhere func() error // a *otherFolderError where a service works with the keys of another folder; nil: none does, as far as it says
}

// otherFolderError says that the kernel has the keys of another folder.
type otherFolderError struct{ service, command string }

func (e *otherFolderError) Error() string {
	return fmt.Sprintf("the service works with the keys of %s, and with none of %s", e.service, e.command)
}

func (h *host) ring() (*ring, error) {
	dir := h.folders.Dirs[0]
	r := &ring{host: h, folder: keys.FolderOf(dir), state: keys.StoreOf(dir, os.Getenv)}
	r.elsewhere = sync.OnceValue(func() error {
		if a, told := service.Ask(h.c.Context); told && !sameFolder(a.Folder, dir) {
			return &otherFolderError{a.Folder, dir}
		}
		return nil
	})
	var err error
	if r.all, r.broken, err = r.folder.List(); err != nil {
		return nil, usage(err)
	}
	return r, nil
}

// userAndProfile reads the two arguments of most commands.
func userAndProfile(c *cli.Context) (user, profile string, err error) {
	if c.NArg() == 0 {
		return "", "", command.NoArgument(c)
	}
	if c.NArg() == 1 {
		return "", "", command.Usagef("for example: "+c.Command.HelpName+" alice admin", "%s takes a user and a profile", c.Command.HelpName)
	}
	return c.Args().Get(0), c.Args().Get(1), nil
}

// onKeys is a command's action on the keys of a user that its arguments name, of which there is one at
// least.
func onKeys(do func(r *ring, user, profile string, which []keys.Entry) error) cli.ActionFunc {
	return on(func(h *host) error {
		user, profile, err := userAndProfile(h.c)
		if err != nil {
			return err
		}
		r, err := h.ring()
		if err != nil {
			return err
		}
		which, err := r.of(user, profile)
		if err != nil {
			return err
		}
		return do(r, user, profile, which)
	})
}

// of returns the keys of a user for a profile, with --id that one.
func (r *ring) of(user, profile string) ([]keys.Entry, error) {
	which, id := keys.Of(r.all, profile, user), r.c.String("id")
	if id != "" {
		which = slices.DeleteFunc(which, func(e keys.Entry) bool { return e.ID() != id })
	}
	if len(which) > 0 {
		return which, nil
	}
	if wrong := r.unusable(user, profile); len(wrong) > 0 {
		return nil, usage(wrong[0])
	}
	hint := "knockd key list shows those that there are"
	has := keys.Of(r.all, profile, user)
	switch swapped := keys.Of(r.all, user, profile); {
	case len(has) > 0:
		hint = "the IDs are: " + strings.Join(ids(has), ", ")
		return nil, command.Usagef(hint, "%s has no key %s for profile %s", user, id, profile)
	case len(swapped) > 0:
		hint = "the user comes first: " + retyped([]string{user, profile}, profile, user)
	case len(keys.Of(r.all, profile, "")) > 0:
		hint = "users with a key for it: " + strings.Join(users(keys.Of(r.all, profile, "")), ", ")
	}
	return nil, command.Usagef(hint, "%s has no key for profile %s", user, profile)
}

// unusable returns why keys of a user cannot be used.
func (r *ring) unusable(user, profile string) (all []*keys.BrokenError) {
	for _, err := range r.broken {
		if wrong := new(keys.BrokenError); errors.As(err, &wrong) && isKeyOf(wrong.File, user, profile) {
			all = append(all, wrong)
		}
	}
	return all
}

// left is the error that a command without --id leaves keys of a user as they are, since they cannot be
// used; nil where it leaves none.
func (r *ring) left(user, profile string) error {
	var stay []string
	for _, wrong := range r.unusable(user, profile) {
		stay = append(stay, wrong.File)
	}
	if len(stay) == 0 || r.c.String("id") != "" {
		return nil
	}
	return &command.Error{Code: command.Failed, Err: fmt.Errorf("of the keys of %s these cannot be used, and are left as they are: %s", user, strings.Join(stay, ", ")),
		Hint: "knockd key list says why; to take them away: rm " + command.Shell(stay)}
}

// isKeyOf reports whether a file is where keys of the user are.
func isKeyOf(file, user, profile string) bool {
	name, _, _ := strings.Cut(filepath.Base(file), ".")
	return name == user && filepath.Base(filepath.Dir(file)) == profile
}

func ids(all []keys.Entry) (ids []string) {
	for _, e := range all {
		ids = append(ids, e.ID())
	}
	return ids
}

func users(all []keys.Entry) (names []string) {
	for _, e := range all {
		names = append(names, e.User)
	}
	return slices.Compact(names)
}

// refresh reads the keys anew, and tells the kernel which there are now and which of them was made a moment
// ago, if one was. gone are those that were taken away. done is false where the kernel was not told; why is
// said.
func (r *ring) refresh(fresh *format.KeyFile, gone []protocol.Key) (st server.KeyState, done bool) {
	ctx, cancel := context.WithTimeout(r.c.Context, keyPatience)
	defer cancel()
	r.all = nil
	st, err := r.tell(ctx, fresh, gone)
	if r.all == nil { // the kernel was not told, or knows no signed profile
		r.all, _, _ = r.folder.List()
	}
	if err != nil && len(gone) > 0 && len(st.Ended) > 0 {
		r.words.Warning("it opens nothing any more, but no key gets tokens: %v", err)
		return st, true
	}
	if err != nil {
		r.words.Warning("the kernel does not know of it yet: %v", err)
		if !errors.As(err, new(*otherFolderError)) {
			r.words.Advice(cmp.Or(todo(err), "a running service takes it up within a minute"))
		}
	}
	return st, err == nil
}

// keyPatience is how long a command waits for another one that has the lock.
const keyPatience = 20 * time.Second

func (r *ring) tell(ctx context.Context, fresh *format.KeyFile, gone []protocol.Key) (server.KeyState, error) {
	if err := r.elsewhere(); err != nil {
		return server.KeyState{}, err
	}
	s, err := r.live(ctx)
	if err != nil {
		return server.KeyState{}, err
	}
	var ends map[protocol.Key]time.Time
	read := func() (_, _ []protocol.Key, err error) {
		r.all, _, err = r.folder.List()
		ends = keys.Ends(r.all)
		return keys.Usable(r.all, time.Now()), gone, err // one may expire while another command has the lock
	}
	highest, unread := r.state.Highest()
	record := r.state.Record
	if unread != nil { // then keys are taken out, and none is loaded
		record = func(int64) error { return unread }
	}
	refresh := server.KeyRefresh{
		Now: time.Now(), Gone: gone, Reread: read, Highest: highest, Record: record,
		Ends: func(k protocol.Key) time.Time { return ends[k] },
	}
	if fresh != nil {
		refresh.Fresh = []string{fresh.ID()}
	}
	return s.RefreshKeys(ctx, refresh)
}

// opens says when a key of an enabled profile opens, from what the kernel knows now.
func (r *ring) opens(p *protocol.Profile, st server.KeyState, now bool) string {
	runs := claim.InUse(claim.Service)
	switch {
	case !p.Enabled:
		return "it opens nothing until the profile is enabled and installed"
	case !slices.Contains(st.Signed, p.Name) && runs:
		return "it opens when the service has installed the profile, within a minute"
	case !slices.Contains(st.Signed, p.Name):
		return "it opens when the profile is installed and the service runs: systemctl enable --now knockd"
	case !runs:
		return "without the service (systemctl enable --now knockd) it opens for a minute only"
	case now:
		return "it opens now"
	case st.Opens.IsZero():
		return "it opens within a minute"
	}
	return fmt.Sprintf("it opens from %s on: %s", say.Clock(st.Opens, time.Now()), st.Why)
}

// ended takes what the user has opened away, unless another key of the user stays, as refresh has read, or
// the flag says so. With the keys of another folder others have opened it.
func (r *ring) ended(user, profile string) {
	if r.elsewhere() != nil {
		return
	}
	stays := slices.ContainsFunc(keys.Of(r.all, profile, user), func(e keys.Entry) bool { return e.Usable(time.Now()) })
	if stays || r.c.Bool("keep-leases") {
		r.words.Note("what %s has opened goes on", user)
		return
	}
	s, err := r.live(r.c.Context)
	if err == nil {
		var was server.Revoked
		was, err = s.RevokeUser(r.c.Context, profile, user, false)
		if err == nil && len(was.Ended)+len(was.GoesOn) > 0 {
			r.words.Note("leases of %s that are over: %d", user, len(was.Ended))
			for _, src := range was.GoesOn {
				r.words.Note("%s goes on to be open for %s: %s", profile, protocol.PrefixText(src.Address), goesOnFor(src))
			}
		}
	}
	if err != nil && !errors.Is(err, server.ErrNotInstalled) {
		r.words.Warning("what %s has opened may go on: %v", user, err)
		r.words.Advice("knockd revoke " + profile + " --user " + user)
	}
}

// goesOnFor says for whom a lease goes on.
func goesOnFor(src server.Source) string {
	var names []string
	for _, u := range src.Users {
		names = append(names, u.Name)
	}
	if len(names) == 0 {
		return "it was given by hand"
	}
	return "for " + say.Names(slices.Compact(names))
}
