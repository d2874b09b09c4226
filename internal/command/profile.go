package command

import (
	"errors"
	"strings"

	"github.com/urfave/cli/v2"

	"knockkit/internal/config"
	"knockkit/internal/files"
	"knockkit/internal/say"
)

// ProfileError gives an error of loading a profile its exit code, its
// diagnostics and a hint. typed is the argument that held the profile's name,
// as "mysq" or "mysq@db1".
func ProfileError(c *cli.Context, err error, typed string) error {
	if err == nil {
		return nil
	}
	e := &Error{Code: Usage, Err: err}
	if broken := new(*config.BrokenError); errors.As(err, broken) {
		e.Detail = (*broken).Diagnostics.Error()
	}
	if exposed := new(*files.ExposedError); errors.As(err, exposed) {
		e.Hint = (*exposed).Todo
	}
	if unknown := new(*config.UnknownProfileError); errors.As(err, unknown) {
		e.Hint = unknownHint(c, *unknown, typed)
	}
	return e
}

func unknownHint(c *cli.Context, e *config.UnknownProfileError, typed string) string {
	right := e.Closest()
	if right == "" && c.Command.Name == c.App.Name && typed == e.Name { // perhaps it was to be a command
		right = say.Closest(e.Name, commandNames(c.App.Commands))
	}
	switch {
	case right != "":
		return "did you mean: " + Corrected(c, typed, right+strings.TrimPrefix(typed, e.Name))
	case len(e.Known) == 0:
		return "there are no profiles yet; they are files like " + e.Folders.ProfileFile("mysql")
	}
	return "there are: " + say.Names(e.Known)
}
