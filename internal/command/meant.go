package command

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"knockkit/internal/config"
	"knockkit/internal/files"
	"knockkit/internal/say"
	"knockkit/protocol/format"
)

// meant returns the hint "did you mean: " with the whole line corrected where
// args[at] was wrong, or where to read on when nothing is near.
func (l *line) meant(args []string, at int, wrong string, known []string) string {
	if hint := l.synonym(args, at, wrong); hint != "" {
		return hint
	}
	bare := strings.TrimLeft(wrong, "-")
	right := say.Closest(bare, known)
	if !strings.HasPrefix(wrong, "-") {
		if right == "" {
			if hint := l.synonym(args, at, say.Closest(wrong, l.typed())); hint != "" {
				return hint
			}
		}
	} else if right != "" {
		right = "--" + right
		if len(right) == 3 {
			right = right[1:]
		}
	}
	if right == "" {
		return seeHelp(l)
	}
	fixed := slices.Clone(args)
	fixed[at] = strings.Replace(fixed[at], wrong, right, 1)
	return didYouMean + Shell(append([]string{l.levels[0].name}, fixed...))
}

const didYouMean = "did you mean: "

// Corrected returns the command line as it was typed with one argument
// replaced, to be pasted into a shell.
func Corrected(c *cli.Context, wrong, right string) string {
	args, _ := c.Context.Value(typedKey{}).([]string)
	fixed := slices.Clone(args)
	if i := slices.Index(fixed, wrong); i >= 0 {
		fixed[i] = right
	}
	return Shell(append([]string{c.App.Name}, fixed...))
}

// Shell writes a command line as it can be pasted into a shell, but for links.
func Shell(args []string) string {
	quoted := make([]string, len(args))
	for i, a := range args {
		switch {
		case isLink(a):
			quoted[i] = "LINK" // the secret in it is not shown
		case a != "" && !strings.ContainsFunc(a, special):
			quoted[i] = a
		case say.Plain(a) == a:
			quoted[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		default: // with the escapes that bash and zsh know, which are those of Go
			q := strconv.QuoteToASCII(a)
			quoted[i] = "$'" + strings.ReplaceAll(q[1:len(q)-1], "'", `\'`) + "'"
		}
	}
	return strings.Join(quoted, " ")
}

func special(r rune) bool {
	plain := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("@%+=:,./-_", r)
	return !plain
}

func commandNames(commands []*cli.Command) []string {
	var names []string
	for _, c := range commands {
		if !c.Hidden {
			names = append(names, c.Names()...)
		}
	}
	return names
}

// flagNames lists what place would accept.
func (l *line) flagNames() []string {
	names := []string{"help"}
	for i, lv := range l.levels {
		if i < len(l.levels)-1 && lv.acts {
			continue
		}
		for _, f := range lv.flags {
			names = append(names, f.Names()...)
		}
	}
	return names
}

// ProfileError gives an error of loading a profile its exit code, its
// diagnostics and a hint. typed is the argument that held the profile's name,
// as "mysq" or "mysq@db1".
func ProfileError(c *cli.Context, err error, typed string) error {
	if err == nil {
		return nil
	}
	e := &Error{Code: Usage, Err: err}
	if broken := new(*config.BrokenError); errors.As(err, broken) {
		e.Detail = Mistakes(c, (*broken).Diagnostics)
	}
	if exposed := new(*files.ExposedError); errors.As(err, exposed) {
		e.Hint = (*exposed).Todo
	}
	if unknown := new(*config.UnknownProfileError); errors.As(err, unknown) {
		e.Hint = unknownHint(c, *unknown, typed)
	}
	return e
}

// Mistakes renders the diagnostics of a profile. A client's profile is a secret: what goes to a log, and
// not to a terminal, shows no values but the wrong one.
func Mistakes(c *cli.Context, all format.Diagnostics) string {
	if c.App.Metadata[TakesLink] != nil && !say.To(c.App.Name, c.App.ErrWriter).Terminal {
		all = all.Masked()
	}
	return all.Error()
}

func unknownHint(c *cli.Context, e *config.UnknownProfileError, typed string) string {
	if right := e.Closest(); right != "" {
		return didYouMean + Corrected(c, typed, right+strings.TrimPrefix(typed, e.Name))
	}
	return KnownProfiles(c, e)
}

// FirstProfile is the key in App.Metadata of what makes a first profile, in words.
const FirstProfile = "first profile"

// KnownProfiles is the hint that lists the profiles that there are.
func KnownProfiles(c *cli.Context, e *config.UnknownProfileError) string {
	if len(e.Known) == 0 {
		return fmt.Sprintf("there are none yet: %s", c.App.Metadata[FirstProfile])
	}
	return "there are: " + say.Names(e.Known)
}
