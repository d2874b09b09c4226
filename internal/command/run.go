package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"knockkit/internal/say"
)

// Run runs app with args (args[0] is the program) and returns the exit code.
// Help that was asked for goes to app.Writer, everything else that is said to
// app.ErrWriter. A command without an action is a group: it needs one of its
// subcommands, and its flags belong to all of them. Flags work anywhere
// before "--"; what follows that is for the action to fetch with [Rest]. What
// failed after a signal of [Interruptible] has that signal's exit code, whatever
// it says: the signal is why.
func Run(ctx context.Context, app *cli.App, args []string) int {
	prepare(app)
	code := Report(say.To(app.Name, app.ErrWriter), run(ctx, app, args))
	if by := new(InterruptError); code != Done && errors.As(context.Cause(ctx), &by) {
		return by.Code()
	}
	return code
}

func run(ctx context.Context, app *cli.App, args []string) error {
	if err := noLink(app, args[1:]); err != nil {
		return err
	}
	l, err := arrange(app, args[1:])
	if err != nil {
		return err
	}
	switch {
	case l.version:
		return say.Print(app.Writer, "%s %s", app.Name, app.Version)
	case l.help:
		return help(app, l, app.Writer)
	case !l.here().acts:
		return errors.Join(help(app, l, app.ErrWriter), &Error{Code: Usage})
	}
	ctx = context.WithValue(ctx, typedKey{}, args[1:])
	ctx = context.WithValue(ctx, strayKey{}, l.stray)
	return app.RunContext(context.WithValue(ctx, restKey{}, l.rest), l.urfave())
}

// prepare takes from urfave what arrange and Report do better.
func prepare(app *cli.App) {
	if app.Writer == nil {
		app.Writer = os.Stdout
	}
	if app.ErrWriter == nil {
		app.ErrWriter = os.Stderr
	}
	app.HideHelpCommand = true // "help" would shadow a profile of that name in every command
	app.HideVersion = true     // its short form is -v
	app.DisableSliceFlagSeparator = true
	app.ExitErrHandler = func(*cli.Context, error) {}
	app.OnUsageError = usageError
	if app.Version != "" {
		app.Flags = append(app.Flags, &cli.BoolFlag{Name: "version", Usage: "print the version"})
	}
	app.CustomAppHelpTemplate = strings.Replace(cli.AppHelpTemplate, "GLOBAL OPTIONS", "OPTIONS", 2)
	prepareFlags(app.Flags)
	prepareCommands(app.Commands)
}

func prepareCommands(commands []*cli.Command) {
	for _, c := range commands {
		c.HideHelpCommand = true
		c.OnUsageError = usageError
		prepareFlags(c.Flags)
		prepareCommands(c.Subcommands)
	}
}

// prepareFlags keeps "(default: false)" out of every line of help.
func prepareFlags(flags []cli.Flag) {
	for _, f := range flags {
		if b, ok := f.(*cli.BoolFlag); ok {
			b.DisableDefaultText = true
		}
	}
}

// badValue is how package flag complains of one.
var badValue = regexp.MustCompile(`^invalid value ".*" for flag -(\S+): `)

// usageError takes what package flag says of a bad value, which it writes with
// one dash.
func usageError(c *cli.Context, err error, _ bool) error {
	if m := badValue.FindStringSubmatch(err.Error()); m != nil {
		if err := timeError(find(c.Command.Flags, m[1]), m[1]); err != nil {
			return err
		}
	}
	text := strings.Replace(err.Error(), " for flag -", " for flag --", 1)
	return Usagef("see "+c.Command.HelpName+" --help", "%s", text)
}

// help writes the help of the command that the line names.
func help(app *cli.App, l *line, w io.Writer) error {
	before := app.Writer
	app.Writer = w
	defer func() { app.Writer = before }()
	return app.Run(append(l.path(), "--help"))
}

// Help returns a usage error after writing the running command's help to
// standard error: for a program that was called without anything. A command that
// got none of the arguments it needs has [NoArgument].
func Help(c *cli.Context) error {
	before := c.App.Writer
	c.App.Writer = c.App.ErrWriter
	defer func() { c.App.Writer = before }()
	var err error
	if c.Command.Name == c.App.Name {
		err = cli.ShowAppHelp(c)
	} else {
		err = cli.ShowSubcommandHelp(c)
	}
	return errors.Join(err, &Error{Code: Usage})
}

type (
	restKey  struct{} // []string: the words after "--"
	strayKey struct{} // int: index in the typed arguments; 0: none
	typedKey struct{} // []string: the arguments as they were typed
)

// NoArgument returns the error of a command that got none of the arguments it needs: what it
// needs, and its usage.
func NoArgument(c *cli.Context) error {
	usage := strings.TrimSpace(c.Command.HelpName + " " + c.Command.ArgsUsage)
	text := c.Command.UsageText
	if c.Command.Name == c.App.Name {
		text = c.App.UsageText
	}
	if text != "" {
		usage, _, _ = strings.Cut(text, "\n")
	}
	var needs []string
	for _, word := range strings.Fields(strings.TrimPrefix(usage, c.Command.HelpName)) {
		if strings.HasPrefix(word, "[") {
			break
		}
		needs = append(needs, word)
	}
	return Usagef("usage: "+usage, "%s needs %s", c.Command.HelpName, strings.Join(needs, " "))
}

// Stray returns the arguments from the first one on that the program does not take ([Takes]),
// and the line as it was typed with two dashes in front of them; nil when it takes all.
func Stray(c *cli.Context) (words []string, dashed string) {
	args, _ := c.Context.Value(typedKey{}).([]string)
	at, _ := c.Context.Value(strayKey{}).(int)
	if at == 0 {
		return nil, ""
	}
	return args[at:], Shell(slices.Concat([]string{c.App.Name}, args[:at], []string{"--"}, args[at:]))
}

// Rest returns the words after "--"; nil when there was none, empty but not
// nil when nothing follows it.
func Rest(c *cli.Context) []string {
	rest, _ := c.Context.Value(restKey{}).([]string)
	return rest
}

// The exit codes of both programs. One that a signal ended has another: see [InterruptError.Code].
const (
	Done      = 0
	Failed    = 1
	Usage     = 2 // wrong words, or a wrong configuration: trying again will not help
	NotOpen   = 3 // knocked, but it did not open
	Privilege = 4 // needs a permission; the hint says which
)

// Error is an error with its exit code and advice. A nil Err prints nothing:
// the words were said already, or the code is that of another program.
type Error struct {
	Code   int
	Err    error
	Detail string // lines shown as they are, above the error: diagnostics
	Hint   string // one line of advice or several; "" for none
}

func (e *Error) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("exit %d", e.Code)
	}
	return e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// Usagef returns a usage error with a hint ("" for none). The format may wrap
// with %w.
func Usagef(hint, format string, args ...any) *Error {
	return &Error{Code: Usage, Err: fmt.Errorf(format, args...), Hint: hint}
}

// Report says err to a person and returns the program's exit code for it.
func Report(words *say.Printer, err error) int {
	if err == nil {
		return Done
	}
	var e *Error
	var by *InterruptError
	switch {
	case errors.As(err, &by):
		words.Error(err)
		return by.Code()
	case errors.As(err, &e):
		if e.Err != nil {
			words.Block(e.Detail)
			if list, ok := e.Err.(interface{ List() []error }); ok {
				for _, one := range list.List() {
					words.Error(one)
				}
			} else {
				words.Error(err)
			}
		}
		words.Hint(e.Hint)
		return e.Code
	case errors.Is(err, context.Canceled):
		words.Error(errors.New("interrupted"))
		return Failed
	}
	words.Error(err)
	return Failed
}
