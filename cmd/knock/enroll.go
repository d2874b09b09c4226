package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"knockkit/internal/command"
	"knockkit/internal/config"
	"knockkit/internal/files"
	"knockkit/internal/say"
	"knockkit/protocol"
	"knockkit/protocol/format"
)

func enrollCommand() *cli.Command {
	return &cli.Command{
		Name:      "enroll",
		Usage:     "make a profile of a link, which knockd profile link prints",
		UsageText: "knock enroll [--name NAME] [--force]\nknock enroll - < FILE\nknock enroll LINK",
		Description: `Asks for the link and does not show it, as it has the secret sequence in it. With -
the link comes from standard input. Then the profile is a file that only you can read.
It replaces no other profile without --force.

   knock enroll
   ssh db1.example.com sudo knockd profile link mysql --host db1.example.com | knock enroll -`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "config", Usage: "configuration folder `DIR`"},
			&cli.StringFlag{Name: "name", Usage: "call the profile `NAME`, instead of what the server calls it"},
			&cli.BoolFlag{Name: "force", Usage: "replace a profile of that name"},
			quietFlag(),
		},
		Action: enrollAction,
	}
}

func enrollAction(c *cli.Context) error {
	words := printer(c)
	link, err := askedLink(c, words)
	if err != nil {
		return err
	}
	p, text, err := format.ParseLink(link)
	if err != nil {
		return linkError(err)
	}
	if c.Args().First() == link {
		words.Warning("the link stands in your shell's history, and the sequence with it")
		words.Advice("next time let it be asked for: knock enroll")
	}
	if name := c.String("name"); name != "" {
		if err := format.CheckName(name); err != nil {
			return command.Usagef("lower-case letters, digits and hyphens, at most 20", "%w", err)
		}
		p.Name = name
	}
	return enroll(c, words, p, text)
}

// maxLinkInput leaves room for a greeting before the link.
const maxLinkInput = 64 << 10

// askedLink returns the link: the argument, or what comes from standard input.
func askedLink(c *cli.Context, words *say.Printer) (string, error) {
	switch typed := c.Args().First(); {
	case c.NArg() > 1:
		return "", command.Usagef("\"knock enroll\" alone asks for it", "enroll takes one link")
	case typed == "-":
		text, err := files.Input(c.Context, "-", maxLinkInput)
		if err != nil {
			return "", &command.Error{Code: command.Usage, Err: fmt.Errorf("read the link: %w", err)}
		}
		return linkIn(string(text))
	case c.NArg() == 1:
		return strings.TrimSpace(typed), nil
	case !term.IsTerminal(int(os.Stdin.Fd())):
		return "", command.Usagef("to read it from standard input: knock enroll -", "there is no terminal to ask for the link on")
	}
	link, err := words.AskSecret(os.Stdin, "the link (it is not shown)")
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return "", err
	case strings.TrimSpace(link) == "":
		return "", command.Usagef("", "no link was entered: no profile was enrolled")
	}
	return strings.TrimSpace(link), nil
}

// linkIn returns the link among other words: what comes over ssh may have a greeting or, with a terminal
// there (ssh -t), the question of sudo before it.
func linkIn(text string) (string, error) {
	words := strings.Fields(text)
	links := slices.DeleteFunc(slices.Clone(words), func(word string) bool { return !strings.HasPrefix(word, format.LinkBegin) })
	switch {
	case len(words) == 0:
		return "", command.Usagef("the command that was to print the link has failed, or printed none", "standard input is empty: no profile was enrolled")
	case len(links) > 1:
		return "", command.Usagef("enroll one after the other", "standard input has %d links: no profile was enrolled", len(links))
	case len(links) == 0:
		return strings.TrimSpace(text), nil // and what is wrong with it will be said
	}
	return links[0], nil
}

func linkError(err error) error {
	e := &command.Error{Code: command.Usage, Err: err}
	if wrong := new(*format.SyntaxError); errors.As(err, wrong) {
		e.Hint = (*wrong).Hint
	}
	return e
}

// enroll writes the profile's file, unless there is one that says the same to a client.
func enroll(c *cli.Context, words *say.Printer, p *protocol.Profile, text []byte) error {
	if named := cmp.Or(c.String("config"), os.Getenv("KNOCK_CONFIG")); named != "" {
		if err := os.MkdirAll(named, 0o700); errors.Is(err, fs.ErrPermission) {
			return writeError(err) // of other errors, folders says more
		}
	}
	f, err := folders(c, os.Getenv)
	if err != nil {
		return err
	}
	if err := f.Check(); err != nil && !f.Lax {
		return command.ProfileError(c, err, p.Name)
	}
	there, err := f.Load(p.Name)
	isNew := errors.As(err, new(*config.UnknownProfileError))
	switch {
	case err == nil && sameForClient(there.Profile, p):
		words.Note("profile %s is unchanged: %s", p.Name, there.File)
		return sayNext(c, words, p)
	case !isNew && there.File == "":
		return command.ProfileError(c, err, p.Name)
	case !isNew && !c.Bool("force"):
		return isThere(there.File)
	}
	file := f.NewFile(p.Name)
	err = files.Write(file, text, c.Bool("force"))
	switch {
	case errors.Is(err, fs.ErrExist): // since it was looked for
		return isThere(file)
	case err != nil:
		return writeError(err)
	}
	if _, err := load(c, p.Name, p.Name); err != nil { // as it will be loaded, with what is to be said of the folder
		return err
	}
	done := "written"
	if !isNew && there.File == file {
		done = "replaced"
	}
	words.Note("profile %s %s: %s", p.Name, done, file)
	return sayNext(c, words, p)
}

func isThere(file string) error {
	return command.Usagef("replace it with --force, or give this one a name of its own: --name NAME", "%s is there already, and says something else", file)
}

// sameForClient reports whether two profiles have the same link.
func sameForClient(x, y *protocol.Profile) bool {
	named := *x
	named.Name = y.Name
	one, err := format.Link(&named)
	other, errOther := format.Link(y)
	return err == nil && errOther == nil && one == other
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
