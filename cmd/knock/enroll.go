package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"

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
			configFlag(),
			&cli.StringFlag{Name: "name", Usage: "call the profile `NAME`, instead of what the server calls it"},
			&cli.BoolFlag{Name: "force", Usage: "replace a profile of that name"},
			quietFlag(),
		},
		Action: enrollAction,
	}
}

func enrollAction(c *cli.Context) error {
	words := printer(c)
	if typed := strings.Join(c.Args().Slice(), " "); format.HasSecret(typed) { // also when it is no whole link
		words.Warning("the link may stand in your shell's history, and the sequence with it")
		words.Advice("next time let it be asked for: knock enroll")
	}
	if name := c.String("name"); name != "" {
		if format.HasSecret(name) {
			return command.Usagef("\"knock enroll\" alone asks for the link", "--name is a link, and no name")
		}
		if err := format.CheckName(name); err != nil {
			return command.Usagef("lower-case letters, digits and hyphens, at most 20", "%w", err)
		}
	}
	text, err := askedLink(c, words)
	if err != nil {
		return err
	}
	links, begun := format.FindLinks(text)
	if len(links) > 1 {
		return command.Usagef("enroll one after the other", "there are %d links: no profile was enrolled", len(links))
	}
	l, err := format.ParseLink(cmp.Or(strings.Join(links, ""), begun, strings.TrimSpace(text)))
	if err != nil {
		return linkError(err)
	}
	l.Profile.Name = cmp.Or(c.String("name"), l.Profile.Name)
	return enroll(c, words, l.Profile, l.Text)
}

// maxLinkInput leaves room for a greeting before the link: what comes over ssh may have one or, with a
// terminal there (ssh -t), the question of sudo.
const maxLinkInput = 64 << 10

// askedLink returns the text that has the link: the argument, what comes from standard input, or what a
// person answers. A terminal on standard input is asked also for "-": it would show what is typed.
func askedLink(c *cli.Context, words *say.Printer) (string, error) {
	terminal := term.IsTerminal(int(os.Stdin.Fd()))
	switch typed := c.Args().First(); {
	case c.NArg() > 1:
		return "", command.Usagef("\"knock enroll\" alone asks for it", "enroll takes one link")
	case typed == "-" && !terminal:
		text, err := files.Input(c.Context, "-", maxLinkInput)
		switch {
		case err != nil:
			return "", &command.Error{Code: command.Usage, Err: fmt.Errorf("read the link: %w", err)}
		case len(bytes.TrimSpace(text)) == 0:
			return "", command.Usagef("the command that was to print the link has failed, or printed none", "standard input is empty: no profile was enrolled")
		}
		return string(text), nil
	case c.NArg() == 1 && typed != "-":
		return typed, nil
	case !terminal:
		return "", command.Usagef("to read it from standard input: knock enroll -", "there is no terminal to ask for the link on")
	}
	ctx, stop := interruptible(c.Context)
	defer stop()
	link, err := words.AskSecret(ctx, os.Stdin, "the link (it is not shown)", format.LinkGoesOn)
	switch {
	case errors.Is(err, say.ErrCtrlC):
		return "", &command.InterruptError{Signal: syscall.SIGINT}
	case err != nil && !errors.Is(err, io.EOF):
		return "", err
	case strings.TrimSpace(link) == "":
		return "", command.Usagef("", "no link was entered: no profile was enrolled")
	}
	return link, nil
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
	isNew, file := errors.As(err, new(*config.UnknownProfileError)), f.NewFile(p.Name)
	switch {
	case err == nil && sameForClient(there.Profile, p):
		words.Note("profile %s is unchanged: %s", p.Name, there.File)
		if there.File == file { // another is not the user's own
			restrict(words, file)
		}
		return sayNext(c, words, p)
	case !isNew && there.File == "":
		return command.ProfileError(c, err, p.Name)
	case !isNew && !c.Bool("force"):
		return isThere(there)
	}
	err = files.Write(file, text, c.Bool("force"))
	switch {
	case errors.Is(err, fs.ErrExist): // since it was looked for, or a folder
		return isThere(config.ReadProfile(file))
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

// isThere says why what is there is not replaced.
func isThere(there config.Entry) error {
	const another = "give this one a name of its own: --name NAME"
	exposed := new(files.ExposedError)
	switch info, err := os.Stat(there.File); {
	case err == nil && info.IsDir():
		return command.Usagef("remove it, or "+another, "%s is a folder", there.File)
	case errors.As(there.Err, &exposed):
		return command.Usagef(exposed.Todo+"\nor replace it with --force", "there is a profile already, but %w", there.Err)
	case there.Err != nil:
		return command.Usagef("replace it with --force, or "+another, "%s is there already, and cannot be used: %w", there.File, there.Err)
	}
	return command.Usagef("replace it with --force, or "+another, "%s is there already, and says something else", there.File)
}

// restrict lets nobody else read or write a profile that was there.
func restrict(words *say.Printer, file string) {
	switch others, err := files.Restrict(file); {
	case err != nil:
		words.Warning("others than you can read or write it: %s", err)
	case others:
		words.Note("only you can read it now: its mode is 0600")
	}
}

// sameForClient reports whether two profiles have the same link.
func sameForClient(x, y *protocol.Profile) bool {
	named := *x
	named.Name = y.Name
	one, err := format.Link(&named, nil)
	other, errOther := format.Link(y, nil)
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
