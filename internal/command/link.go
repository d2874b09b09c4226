package command

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"knockkit/protocol/format"
)

// TakesLink is the key in App.Metadata of the name of the command that takes a profile's link.
const TakesLink = "link"

// noLink refuses a link among the arguments of any other command. Their errors and hints would
// repeat it, into logs too, and with it the secret sequence.
func noLink(app *cli.App, args []string) error {
	if end := slices.Index(args, "--"); end >= 0 {
		args = args[:end]
	}
	taker, _ := app.Metadata[TakesLink].(string)
	if !slices.ContainsFunc(args, isLink) || taker != "" && slices.Contains(args, taker) {
		return nil
	}
	return Usagef("\"knock enroll\" alone asks for it, and shows it nowhere\nthis one may stand in your shell's history now, and the sequence with it",
		"an argument is a profile's link, which %s does not take here", app.Name)
}

// isLink reports whether an argument has a link's secret in it.
func isLink(arg string) bool { return strings.Contains(arg, format.LinkBegin) && format.HasSecret(arg) }
