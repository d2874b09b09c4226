package main

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"math/big"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"knockkit/internal/command"
	"knockkit/internal/config"
	"knockkit/internal/files"
	"knockkit/internal/say"
	"knockkit/protocol/format"
)

func profileCommand() *cli.Command {
	return &cli.Command{
		Name:        "profile",
		Usage:       "make, list, check, hand out and remove profile files",
		Description: "Example:\n  knockd profile new mysql\n  knockd profile check",
		Subcommands: []*cli.Command{
			{Name: "new", Usage: "write a profile with a sequence of its own", ArgsUsage: "NAME", Action: onOne("name", newProfile),
				Description: "Example:\n  knockd profile new mysql"},
			{Name: "list", Usage: "list the profile files", Action: on(listProfiles),
				Flags:       []cli.Flag{jsonFlag()},
				Description: "Example:\n  knockd profile list --json"},
			{Name: "show", Usage: "print a profile's file", ArgsUsage: "NAME", Action: onOne("name", showProfile),
				Description: "Example:\n  knockd profile show mysql"},
			{Name: "add", Usage: "check a file and copy it into the configuration folder", ArgsUsage: "FILE", Action: onOne("file", addProfile),
				Flags:       []cli.Flag{&cli.BoolFlag{Name: "force", Usage: "replace a profile of that name"}},
				Description: "Example:\n  knockd profile add examples/mysql.toml"},
			linkCommand(),
			{Name: "remove", Usage: "remove a profile's file (installed rules stay: see knockd remove)", ArgsUsage: "NAME", Action: onOne("name", removeProfile),
				Description: "Example:\n  knockd profile remove mysql"},
			{Name: "check", Usage: "say what is wrong with profiles: those named, or all, alone and together", ArgsUsage: "[NAME|FILE...]", Action: on(checkProfiles),
				Description: "Example:\n  knockd profile check\n  knockd profile check ./mysql.toml"},
		},
	}
}

func jsonFlag() cli.Flag { return &cli.BoolFlag{Name: "json", Usage: "print JSON"} }

// onOne is [on] for a command with one argument, which what names.
func onOne(what string, do func(h *host, arg string) error) cli.ActionFunc {
	return on(func(h *host) error {
		switch c := h.c; c.NArg() {
		case 0:
			return command.NoArgument(c)
		case 1:
			return do(h, c.Args().First())
		default:
			return command.Usagef("see "+c.Command.HelpName+" --help", "%s is one argument too many: %s takes one %s", c.Args().Get(1), c.Command.HelpName, what)
		}
	})
}

func newProfile(h *host, name string) error {
	if err := format.CheckName(name); err != nil {
		return command.Usagef("lower-case letters, digits and hyphens, at most 20", "%w", err)
	}
	text := format.NewProfileText(name, func(n int) int {
		i, err := rand.Int(rand.Reader, big.NewInt(int64(n)))
		if err != nil {
			panic(err) // the kernel has no randomness: nothing is safe then
		}
		return int(i.Int64())
	})
	if err := h.write(name, []byte(text), false); err != nil {
		return err
	}
	e, err := h.folders.Load(name)
	if err != nil {
		return h.profileError(err, name)
	}
	// For any name: a profile's name does not say which port is meant.
	h.words.Note("it opens %s: for another port edit `open` before you install it", strings.Join(lineOf(e).Open, " "))
	return say.Data(h.c.App.Writer, e.File+"\n")
}

// write makes a profile's file. The sequence is a secret: only the owner may read it.
func (h *host) write(name string, text []byte, replace bool) error {
	file := h.newFile(name)
	if err := h.folders.Check(); err != nil {
		return usage(err)
	}
	err := files.Write(file, text, replace)
	if errors.Is(err, fs.ErrExist) {
		return command.Usagef("edit it, or remove it first: knockd profile remove "+name, "%s is there already", file)
	}
	return writeError(err)
}

func writeError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrPermission):
		return &command.Error{Code: command.Privilege, Err: err, Hint: "run it as root, or choose a folder of your own with --config DIR"}
	}
	return err
}

// profileLine is a profile in `profile list --json`.
type profileLine struct {
	Name        string   `json:"name"`
	File        string   `json:"file"`
	Enabled     bool     `json:"enabled"`
	Sequence    []string `json:"sequence"`
	Open        []string `json:"open"`
	LeaseSecs   float64  `json:"lease"`
	Description string   `json:"description"`
	Error       string   `json:"error,omitempty"`
}

func lineOf(e config.Entry) profileLine {
	l := profileLine{Name: e.Name, File: e.File, Sequence: []string{}, Open: []string{}}
	if e.Err != nil {
		l.Error = e.Err.Error()
		return l
	}
	l.Enabled, l.Description, l.LeaseSecs = e.Profile.Enabled, e.Profile.Description, e.Profile.Lease.Seconds()
	for _, s := range e.Profile.Sequence {
		l.Sequence = append(l.Sequence, s.Knock.String())
	}
	for _, o := range e.Profile.Open {
		l.Open = append(l.Open, o.String())
	}
	return l
}

func listProfiles(h *host) error {
	c := h.c
	entries, err := h.folders.List()
	if err != nil {
		return usage(err)
	}
	lines := []profileLine{}
	for _, e := range entries {
		lines = append(lines, lineOf(e))
	}
	if c.Bool("json") {
		return printJSON(c, lines)
	}
	if len(lines) == 0 {
		h.words.Note("no profiles in %s yet: knockd profile new NAME makes one", h.folders)
		return nil
	}
	var rows [][]string
	for i, l := range lines {
		state := "enabled"
		switch {
		case l.Error != "":
			state = "broken"
		case !l.Enabled:
			state = "disabled"
		}
		sequence := strings.Join(l.Sequence, " ")
		if p := entries[i].Profile; p != nil && p.Signed != nil {
			sequence = "signed, by " + p.Signed.Carrier.String()
		}
		rows = append(rows, []string{l.Name, state, sequence, strings.Join(l.Open, " "), l.Description})
	}
	if err := say.Table(c.App.Writer, []string{"PROFILE", "STATE", "SEQUENCE", "OPENS", "DESCRIPTION"}, rows); err != nil {
		return err
	}
	if slices.ContainsFunc(lines, func(l profileLine) bool { return l.Error != "" }) {
		h.words.Note("what is broken: knockd profile check")
	}
	return nil
}

func printJSON(c *cli.Context, v any) error {
	return say.JSON(c.App.Writer, "  ", v)
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
	h.warn(e)
	h.warnMisplaced(e.Profile)
	if err := h.write(e.Name, e.Text, h.c.Bool("force")); err != nil {
		return err
	}
	h.words.Note("profile %s added; install it with: knockd install %s", e.Name, e.Name)
	return nil
}

func removeProfile(h *host, name string) error {
	e, err := h.folders.Load(name)
	if e.File == "" { // there is none, or the folder cannot be read
		return h.profileError(err, name)
	}
	if err := os.Remove(e.File); err != nil {
		return writeError(err)
	}
	h.words.Note("%s removed; if it is installed, end it with: knockd remove %s", e.File, name)
	return nil
}
