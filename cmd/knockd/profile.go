package main

import (
	"errors"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"knockkit/internal/command"
	"knockkit/internal/config"
	"knockkit/internal/files"
	"knockkit/internal/say"
	"knockkit/protocol"
	"knockkit/server/keys"
)

func profileCommand() *cli.Command {
	return &cli.Command{
		Name:        "profile",
		Usage:       "make, list, change, check, hand out and remove profile files",
		Description: "Example:\n  knockd profile new mysql\n  knockd profile check",
		Subcommands: []*cli.Command{
			newCommand(), listCommand(),
			{Name: "show", Usage: "print a profile's file", ArgsUsage: "NAME", Action: onOne(showProfile),
				Description: "Example:\n  knockd profile show mysql"},
			{Name: "add", Usage: "check a file and copy it into the configuration folder", ArgsUsage: "FILE", Action: onOne(addProfile),
				Flags:       []cli.Flag{&cli.BoolFlag{Name: "force", Usage: "replace a profile of that name"}, allowLockoutFlag()},
				Description: "A running service installs it at once.\n\nExample:\n  knockd profile add examples/mysql.toml"},
			editCommand(), linkCommand(),
			{Name: "remove", Usage: "remove a profile's file", ArgsUsage: "NAME", Action: onOne(removeProfile),
				Flags:       []cli.Flag{allowLockoutFlag()},
				Description: "A running service ends its gate at once, and installs what waited for a file that it could not\nuse. Without one the rules stay: see knockd remove.\n\nExample:\n  knockd profile remove mysql"},
			{Name: "check", Usage: "say what is wrong with profiles: those named, or all, alone and together", ArgsUsage: "[NAME|FILE...]", Action: on(checkProfiles),
				Description: "Example:\n  knockd profile check\n  knockd profile check ./mysql.toml"},
		},
	}
}

func jsonFlag() cli.Flag { return &cli.BoolFlag{Name: "json", Usage: "print JSON"} }

// onOne is [on] for a command with one argument.
func onOne(do func(h *host, arg string) error) cli.ActionFunc {
	return on(func(h *host) error {
		if h.c.NArg() == 0 {
			return command.NoArgument(h.c)
		}
		return do(h, h.c.Args().First())
	})
}

// write makes a profile's file. The sequence is a secret: only the owner may read it.
func (h *host) write(name string, text []byte, replace bool) error {
	file := h.newFile(name)
	if err := h.folders.Check(); err != nil {
		return usage(err)
	}
	err := files.Write(file, text, replace)
	if errors.Is(err, fs.ErrExist) {
		hint := "change it with: knockd profile edit " + name + "; or remove it first: knockd profile remove " + name
		if h.c.Command.Name == "add" {
			hint = "to replace it: " + retyped(nil, "--force")
		}
		return command.Usagef(hint, "%s is there already", file)
	}
	return writeError(err)
}

// printed lets data be printed behind a change, of these files. Where it cannot be, which is no end of
// the command even if nobody has the other end of the pipe, words say what it was to say.
func (h *host) printed(print func() error, written ...string) error {
	broken := make(chan os.Signal, 1)
	signal.Notify(broken, syscall.SIGPIPE) // which else ends us
	defer signal.Stop(broken)
	err := print()
	if err != nil && len(written) > 0 {
		h.words.Note("written: %s", say.Names(written))
	}
	return err
}

func writeError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrPermission):
		return &command.Error{Code: command.Privilege, Err: err, Hint: "run it as root, or choose a folder of your own with --config DIR"}
	case todo(err) != "":
		return usage(err)
	}
	return err
}

func showProfile(h *host, name string) error {
	e, err := h.folders.Load(name)
	if err != nil {
		return h.profileError(err, name)
	}
	h.words.Note("%s", e.File)
	return say.Data(h.c.App.Writer, string(e.Text))
}

func addProfile(h *host, file string) error {
	e := config.ReadProfile(file)
	if e.Err != nil {
		return h.profileError(e.Err, file)
	}
	others, err := h.others(e.Name)
	if err != nil {
		return err
	}
	if problems := together(e.Profile, others); len(problems) > 0 {
		return command.Usagef("change one of the two; nothing was added", "%w", errors.Join(problems...))
	}
	h.warn(e)
	h.warnMisplaced(e.Profile)
	k, err := h.keeper(e.Profile)
	if err != nil {
		return err
	}
	was, _ := h.folders.Load(e.Name) // no profile where there is none that can be read
	if err := h.write(e.Name, e.Text, h.c.Bool("force")); err != nil {
		return err
	}
	changed := time.Now()
	h.words.Note("profile %s added", e.Name)
	h.noteLink(was.Profile, e.Profile)
	return h.takenUp(k, changed, e.Name, e.Profile)
}

func removeProfile(h *host, name string) error {
	e, err := h.folders.Load(name)
	if e.File == "" { // there is none, or the folder cannot be read
		return h.profileError(err, name)
	}
	k, err := h.keeper(&protocol.Profile{Name: name}) // to the service, none is as good as a disabled one
	if err != nil {
		return err
	}
	if err := os.Remove(e.File); err != nil {
		return writeError(err)
	}
	changed := time.Now()
	h.words.Note("%s removed", e.File)
	if r, err := h.ring(); err == nil { // else there is nothing to say of keys
		if left := keys.Of(r.all, name, ""); len(left) > 0 {
			h.words.Note("the keys of %s stay in %s", say.Names(users(left)), filepath.Dir(left[0].File))
		}
	}
	return h.takenUp(k, changed, name, nil)
}
