package docs

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"knockkit/internal/command"
	"knockkit/internal/say"
)

// program is a program and its commands, as a person reads of them.
type program struct {
	entry            // the program without a command
	Commands []entry // in the order of their definition; hidden ones are left out
}

// entry is one command.
type entry struct {
	Path   string // "knockd profile new"
	Usage  string // what it does, in a line
	Forms  []string
	Text   []part
	Flags  []option
	Shared []string // flags that the program has too: "--json"
	Groups bool     // it has subcommands, and does nothing without one
}

// part is prose, or lines to type.
type part struct {
	Prose string // paragraphs
	Typed string // set in place of Prose: lines that end with a newline, the first not indented
}

// option is one flag as help shows it.
type option struct {
	Names string // "--quiet, -q", "--try TIME"
	Usage string
}

// readProgram returns the definition of app. It changes nothing in app.
func readProgram(app *cli.App) program {
	p := program{entry: entry{
		Path: app.Name, Usage: app.Usage, Text: parts(app.Description), Flags: flags(app.Flags),
		Forms: forms(app.Name, app.UsageText, app.ArgsUsage, true),
	}}
	p.add(app.Name, app.Commands)
	return p
}

func (p *program) add(path string, commands []*cli.Command) {
	for _, c := range commands {
		if c.Hidden {
			continue
		}
		path := path + " " + c.Name
		e := entry{
			Path: path, Usage: c.Usage, Text: parts(c.Description), Groups: len(c.Subcommands) > 0,
			Forms: forms(path, c.UsageText, c.ArgsUsage, c.Action == nil),
		}
		for _, f := range flags(c.Flags) {
			if slices.Contains(p.Flags, f) {
				name, _, _ := strings.Cut(f.Names, ",")
				name, _, _ = strings.Cut(name, " ")
				e.Shared = append(e.Shared, name)
			} else {
				e.Flags = append(e.Flags, f)
			}
		}
		p.Commands = append(p.Commands, e)
		p.add(path, c.Subcommands)
	}
}

// shared is the sentence about flags that the program has too.
func (e entry) shared(program string) string {
	if len(e.Shared) == 0 {
		return ""
	}
	return "Flags as of " + program + ": `" + strings.Join(e.Shared, "`, `") + "`.\n\n"
}

// forms returns the ways to call a command: what it says itself, or what its
// definition amounts to.
func forms(path, text, args string, group bool) []string {
	switch {
	case text != "":
		return strings.Split(strings.TrimSpace(text), "\n")
	case group:
		args = "COMMAND"
	}
	return []string{strings.TrimSpace(path + " " + args)}
}

// flags returns the flags as help shows them, without --help itself.
func flags(all []cli.Flag) []option {
	var said []option
	for _, f := range all {
		if v, ok := f.(cli.VisibleFlag); ok && !v.IsVisible() || slices.Contains(f.Names(), "help") {
			continue
		}
		names, usage, _ := strings.Cut(f.String(), "\t")
		names, _, _ = strings.Cut(names, " [ ") // one that repeats has its form twice
		// A time of nothing is no default: the flag was not given.
		said = append(said, option{names, strings.TrimSuffix(usage, " (default: 0s)")})
	}
	return said
}

// parts takes a description apart: indented lines are to be typed.
func parts(text string) []part {
	var all []part
	for line := range strings.Lines(text) {
		typed := strings.HasPrefix(line, " ")
		last := len(all) - 1
		switch {
		case strings.TrimSpace(line) == "": // belongs to what is before it
			typed = last >= 0 && all[last].Typed != ""
		case last < 0 || typed != (all[last].Typed != ""):
			all = append(all, part{})
			last++
		}
		switch {
		case last < 0:
		case typed:
			all[last].Typed += line
		default:
			all[last].Prose += line
		}
	}
	for i, p := range all {
		all[i] = part{Prose: strings.TrimRight(p.Prose, "\n"), Typed: unindent(p.Typed)}
	}
	return all
}

// unindent removes the first line's indent from every line.
func unindent(text string) string {
	indent := text[:len(text)-len(strings.TrimLeft(text, " "))]
	var b strings.Builder
	for line := range strings.Lines(strings.TrimRight(text, "\n")) {
		b.WriteString(strings.TrimPrefix(line, indent))
	}
	if b.Len() > 0 {
		b.WriteByte('\n')
	}
	return b.String()
}

// Command is hidden in both programs: "knockd __reference markdown" prints the
// chapter of docs/commands.md, "knockd __reference man" the manual page.
func Command(section, seeAlso string) *cli.Command {
	return &cli.Command{
		Name:      "__reference",
		ArgsUsage: "markdown|man",
		Usage:     "print the commands as markdown or man (used when packages are built)",
		Hidden:    true,
		Action: func(c *cli.Context) error {
			p := readProgram(c.App)
			text := p.markdown()
			switch c.Args().First() {
			case "markdown":
			case "man":
				text = string(p.man(section, c.App.Version, seeAlso))
			default:
				return command.NoArgument(c)
			}
			return say.Data(c.App.Writer, text)
		},
	}
}
