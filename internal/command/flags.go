package command

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// split reads one argument that starts with "-": --name, --name=value, -n,
// -n=value, -nvalue where n takes a value, and -abc where each takes none.
func (l *line) split(arg string) []given {
	name, value, has := strings.Cut(strings.TrimLeft(arg, "-"), "=")
	typed, _, _ := strings.Cut(arg, "=")
	whole := given{typed: typed, name: name, value: value, has: has}
	letters := []rune(name)
	if strings.HasPrefix(arg, "--") || len(letters) < 2 || l.find(name) != nil {
		return []given{whole}
	}
	var flags []given
	for i, letter := range letters {
		short := string(letter)
		if l.find(short) == nil && short != "h" {
			return []given{whole}
		}
		if short == "h" && (i+1 < len(letters) || has) { // -hdb1 is no call for help
			return []given{whole}
		}
		f := given{typed: "-" + short, name: short}
		if l.takesValue(short) {
			if i+1 < len(letters) || has {
				f.value, f.has = strings.TrimPrefix(arg, "-"+string(letters[:i+1])), true
			}
			return append(flags, f)
		}
		flags = append(flags, f)
	}
	if has { // -ab=x: only the last could take x
		flags[len(flags)-1].value, flags[len(flags)-1].has = value, true
	}
	return flags
}

// find returns the flag that the name can mean at this point of the line: of
// the commands entered, innermost first, or of one still to come.
func (l *line) find(name string) cli.Flag {
	for _, lv := range slices.Backward(l.levels) {
		if f := find(lv.flags, name); f != nil {
			return f
		}
	}
	if len(l.words) > 0 {
		return nil
	}
	return findBelow(l.here().commands, name)
}

func findBelow(commands []*cli.Command, name string) cli.Flag {
	for _, c := range commands {
		if f := find(c.Flags, name); f != nil {
			return f
		}
		if f := findBelow(c.Subcommands, name); f != nil {
			return f
		}
	}
	return nil
}

func find(flags []cli.Flag, name string) cli.Flag {
	for _, f := range flags {
		if slices.Contains(f.Names(), name) {
			return f
		}
	}
	return nil
}

func (l *line) takesValue(name string) bool {
	f, ok := l.find(name).(cli.DocGenerationFlag)
	return ok && f.TakesValue()
}

// line is a command line in the order that urfave/cli understands: each
// command followed by its own flags, then the arguments.
type line struct {
	levels  []*level // the program, then each command that the words entered
	words   []string // arguments
	rest    []string // after "--"; nil without one
	last    int      // index of the last argument among all that was typed
	stray   int      // index of the argument at which reading ended; 0: none
	help    bool
	version bool

	synonyms []Synonym
}

// level is the program or one command, with the flags that fell to it.
type level struct {
	name     string
	at       int // where the word that entered it stands among what was typed
	flags    []cli.Flag
	commands []*cli.Command
	acts     bool     // has an action; else it is a group
	given    []string // as --name=value
}

// given is a flag of the command line before it is known whose it is.
type given struct {
	at    int    // index among the arguments
	typed string // as "--jsno"
	name  string
	value string
	has   bool // a value came with it
}

// arrange sorts args (without the program's name) by the app's definitions.
func arrange(app *cli.App, args []string) (*line, error) {
	l := &line{levels: []*level{{name: app.Name, flags: app.Flags, commands: app.Commands, acts: app.Action != nil}}}
	l.synonyms, _ = app.Metadata[Synonyms].([]Synonym)
	var flags []given
	for i := 0; i < len(args); i++ {
		arg := args[i]
		switch {
		case arg == "--":
			if err := l.after(app, i, args); err != nil {
				return nil, err
			}
			i = len(args)
		case arg == "":
			return nil, emptyArgument(i)
		case len(arg) > 1 && arg[0] == '-':
			for _, f := range l.split(arg) {
				f.at = i
				if !f.has && l.takesValue(f.name) {
					if i+1 == len(args) || args[i+1] == "--" {
						return nil, Usagef(seeHelp(l), "flag %s needs a value", f.typed)
					}
					i++
					f.value, f.has = args[i], true
				}
				flags = append(flags, f)
			}
		default:
			if err := l.word(arg, i, args); err != nil {
				return nil, err
			}
			if n := len(l.words); n > 0 && len(l.levels) == 1 && !l.takes(app, flags) {
				l.words, l.stray = l.words[:n-1], i
				i = len(args)
			}
		}
	}
	for _, f := range flags {
		if err := l.attach(f, args); err != nil {
			return nil, err
		}
	}
	return l, nil
}

func emptyArgument(i int) error {
	return Usagef("a variable that is not set?", "argument %d is empty", i+1)
}

// TakesRest is the key in App.Metadata of a []string: the names of the commands for which what
// follows "--" is another program's, or no arguments: they fetch it with [Rest]. For all other
// commands these are arguments that may begin with a dash.
const TakesRest = "rest"

// after takes what follows the "--" at args[dashes].
func (l *line) after(app *cli.App, dashes int, args []string) error {
	takers, _ := app.Metadata[TakesRest].([]string)
	if slices.Contains(takers, l.here().name) {
		l.rest = append([]string{}, args[dashes+1:]...) // not nil
		return nil
	}
	for i := dashes + 1; i < len(args); i++ {
		if args[i] == "" {
			return emptyArgument(i)
		}
		if l.here().acts { // no command is sought here
			l.words, l.last = append(l.words, args[i]), i
		} else if err := l.word(args[i], i, args); err != nil {
			return err
		}
	}
	return nil
}

// word takes an argument that is no flag: the next command, or an argument.
func (l *line) word(arg string, at int, args []string) error {
	here := l.here()
	l.last = at
	if len(l.words) > 0 {
		l.words = append(l.words, arg)
		return nil
	}
	for _, c := range here.commands {
		if c.HasName(arg) {
			l.levels = append(l.levels, &level{name: c.Name, at: at, flags: c.Flags, commands: c.Subcommands, acts: c.Action != nil})
			return nil
		}
	}
	switch {
	case arg == "help" && len(l.levels) == 1 && !l.help:
		l.help = true // "help status" is "status --help"
	case !here.acts:
		return Usagef(l.meant(args, at, arg, commandNames(here.commands)),
			"unknown command %q", strings.Join(append(l.path()[1:], arg), " "))
	default:
		l.words = append(l.words, arg)
	}
	return nil
}

// attach gives the flag to the innermost command that defines it: the one that
// runs, or a group around it. A parent that acts keeps its flags to itself.
func (l *line) attach(f given, args []string) error {
	if f.name == "help" || f.name == "h" {
		if f.name == "h" && (f.at < l.last && len(l.words) > 0 || l.rest != nil) {
			return l.noHelp(f, args)
		}
		l.help = true
		return nil
	}
	for i := len(l.levels) - 1; i >= 0; i-- {
		to := l.levels[i]
		if i < len(l.levels)-1 && to.acts {
			continue
		}
		def := find(to.flags, f.name)
		if def == nil {
			continue
		}
		l.version = l.version || f.name == "version" && i == 0
		if f.has && f.value == "" {
			return Usagef("leave it out; or is a variable not set?", "%s is empty", f.typed)
		}
		text := "--" + def.Names()[0] // one form, so that -q and --quiet together are no conflict
		if f.has {
			text += "=" + f.value
		}
		to.given = append(to.given, text)
		return nil
	}
	return Usagef(l.meant(args, f.at, f.typed, l.flagNames()), "unknown flag %s", f.typed)
}

// noHelp refuses a -h in front of an argument: whoever writes that means a host, or another
// program's flag, and must not be told by exit code 0 that all was done.
func (l *line) noHelp(f given, args []string) error {
	hint := seeHelp(l)
	if f.typed == args[f.at] && f.at < l.last && find(l.here().flags, "host") != nil {
		fixed := slices.Clone(args)
		fixed[f.at] = "--host"
		hint = "did you mean: " + Shell(append([]string{l.levels[0].name}, fixed...))
	}
	return Usagef(hint, "-h asks for help and takes no argument")
}

// Takes is the key in App.Metadata of a [TakesFunc].
const Takes = "takes"

// TakesFunc says whether a program that acts itself takes these arguments; flags are the names
// of those in front of the last one. At the first one that it does not take the reading ends:
// what follows may be another program's command line. See [Stray].
type TakesFunc = func(words, flags []string) bool

func (l *line) takes(app *cli.App, before []given) bool {
	takes, has := app.Metadata[Takes].(TakesFunc)
	if !has {
		return true
	}
	var flags []string
	for _, f := range before {
		if def := l.find(f.name); def != nil {
			flags = append(flags, def.Names()[0])
		}
	}
	return takes(l.words, flags)
}

// urfave returns the whole line in urfave's order.
func (l *line) urfave() []string {
	var args []string
	for _, lv := range l.levels {
		args = append(append(args, lv.name), lv.given...)
	}
	if slices.ContainsFunc(l.words, func(w string) bool { return strings.HasPrefix(w, "-") && w != "-" }) {
		args = append(args, "--")
	}
	return append(args, l.words...)
}

// path names the command that runs: "knockd", "profile", "new".
func (l *line) path() []string {
	var names []string
	for _, lv := range l.levels {
		names = append(names, lv.name)
	}
	return names
}

func (l *line) here() *level { return l.levels[len(l.levels)-1] }

func seeHelp(l *line) string { return fmt.Sprintf("see %s --help", strings.Join(l.path(), " ")) }
