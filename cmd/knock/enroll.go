package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"knockkit/internal/command"
	"knockkit/internal/files"
	"knockkit/internal/say"
	"knockkit/protocol/format"
)

func enrollCommand() *cli.Command {
	return &cli.Command{
		Name:      "enroll",
		Usage:     "make a profile of a link that the server prints",
		UsageText: "knock enroll [--name NAME] [--force]\nknock enroll - < FILE\nknock enroll LINK",
		Description: `Asks for the link and does not show it, as it has the secret sequence or your key in it.
With - the link comes from standard input. Then the profile is a file that only you can
read, and so is the key of a signed one. It replaces no other profile or key without
--force.

On the server "knockd profile link" prints the link, and "knockd key add" that of a
signed profile, which is for one user.

   knock enroll
   ssh db1.example.com sudo knockd profile link mysql --host db1.example.com | knock enroll -
   ssh db1.example.com sudo knockd key add alice admin --host db1.example.com | knock enroll -`,
		Flags: []cli.Flag{
			configFlag(),
			&cli.StringFlag{Name: "name", Usage: "call the profile `NAME`, instead of what the server calls it"},
			&cli.BoolFlag{Name: "force", Usage: "replace a profile of that name, and its key"},
			quietFlag(),
		},
		Action: enrollAction,
	}
}

func enrollAction(c *cli.Context) error {
	words := printer(c)
	if typed := strings.Join(c.Args().Slice(), " "); format.HasSecret(typed) { // also when it is no whole link
		words.Warning("the link may stand in your shell's history, and its secret with it")
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
	return enroll(c, words, l)
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
		if _, err := os.Stat(typed); err == nil {
			return "", command.Usagef("to read it: knock enroll - < "+command.Shell([]string{typed}), "%s is a file, and no link", typed)
		}
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
