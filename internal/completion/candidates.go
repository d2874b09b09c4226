package completion

import (
	"context"
	"embed"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"knockkit/internal/command"
	"knockkit/internal/say"
)

// Files stands for the names of files among candidates.
const Files = ":files"

// Cursor is where on a command line a word is being typed.
type Cursor struct {
	Command []string // names of the commands that were entered: "profile", "show"
	Args    []string // arguments in front of the word
	Flag    string   // name of the flag whose value the word is: "backend"; "": it is none
	Rest    bool     // the word stands behind "--"
	Word    string   // the part of it that is typed
	Config  string   // the folder of --config; "": the usual ones
}

// Arguments says what can be at a place where no flag's name is being typed: candidates
// as of [Candidates], also those that do not begin with the word.
type Arguments func(context.Context, Cursor) []string

// Candidates returns what the last of the words can be completed to, each with
// a tab and its meaning if there is one.
func Candidates(ctx context.Context, app *cli.App, words []string, arguments Arguments) []string {
	before, current := words[:len(words)-1], words[len(words)-1]
	at := Cursor{Word: current}
	flags, commands := app.Flags, app.VisibleCommands()
	group := app.UsageText == "" // a program that does something itself says how to call it
	for i := 0; i < len(before); i++ {
		word := before[i]
		if word == "--" {
			at.Rest = true
			break
		}
		if strings.HasPrefix(word, "-") {
			name, value, is := strings.Cut(word, "=")
			flag := flagOf(flags, name)
			switch {
			case flag == nil:
				continue
			case !is && i+1 == len(before):
				at.Flag = flag.Names()[0]
			case !is:
				i++
				value = before[i]
			}
			if flag.Names()[0] == "config" {
				at.Config = value
			}
			continue
		}
		entered := slices.IndexFunc(commands, func(c *cli.Command) bool { return c.HasName(word) })
		if entered < 0 || len(at.Args) > 0 {
			at.Args = append(at.Args, word)
			continue
		}
		c := commands[entered]
		at.Command = append(at.Command, c.Name)
		if !group { // what acts itself keeps its flags to itself
			flags = nil
		}
		flags, commands, group = append(slices.Clone(c.Flags), flags...), c.Subcommands, len(c.Subcommands) > 0
	}
	prefix := ""
	var all []string
	switch name, value, is := strings.Cut(current, "="); {
	case at.Flag != "":
		all = valueOf(ctx, flags, at, arguments)
	case !strings.HasPrefix(current, "-") || at.Rest:
		if len(at.Args) == 0 && !at.Rest {
			for _, c := range commands {
				all = append(all, c.Name+"\t"+c.Usage)
			}
		}
		all = append(all, arguments(ctx, at)...)
	case !is:
		all = flagWords(flags)
	case flagOf(flags, name) != nil:
		at.Flag, at.Word, prefix, current = flagOf(flags, name).Names()[0], value, name+"=", value
		all = valueOf(ctx, flags, at, arguments)
	}
	if slices.Contains(all, Files) {
		return []string{Files}
	}
	all = slices.DeleteFunc(all, func(c string) bool { return !strings.HasPrefix(c, current) })
	for i := range all {
		all[i] = prefix + all[i]
	}
	return all
}

// flagOf returns the flag that takes a value and is typed like word: "--config", "-j".
func flagOf(flags []cli.Flag, word string) cli.Flag {
	name := strings.TrimLeft(word, "-")
	for _, f := range flags {
		if d, ok := f.(cli.DocGenerationFlag); ok && slices.Contains(f.Names(), name) && d.TakesValue() {
			return f
		}
	}
	return nil
}

// valueOf returns the candidates for the value of the flag at.Flag.
func valueOf(ctx context.Context, flags []cli.Flag, at Cursor, arguments Arguments) []string {
	if f, ok := flagOf(flags, at.Flag).(*cli.StringFlag); ok && f.TakesFile {
		return []string{Files}
	}
	return arguments(ctx, at)
}

// flagWords lists the long names.
func flagWords(flags []cli.Flag) []string {
	words := []string{"--help\tshow help"}
	for _, f := range flags {
		usage := ""
		if d, ok := f.(cli.DocGenerationFlag); ok {
			usage = strings.ReplaceAll(d.GetUsage(), "`", "")
		}
		words = append(words, "--"+f.Names()[0]+"\t"+usage)
	}
	slices.Sort(words)
	return slices.Compact(words)
}

// The scripts are those for knock: every "knock" in them is the program's name.
//
//go:embed scripts
var scripts embed.FS

// Shells are those that there is a script for.
func Shells() []string { return []string{"bash", "zsh", "fish"} }

// Hidden is the name of the command that the scripts call.
const Hidden = "__complete"

// Commands returns two commands for the named program: completion, which writes a
// script, and [Hidden].
func Commands(name string, arguments Arguments) []*cli.Command {
	return []*cli.Command{
		{
			Name:      "completion",
			Usage:     "write a script that completes commands, flags and profiles",
			UsageText: name + " completion bash|zsh|fish",
			Description: strings.ReplaceAll(`Writes a script for a shell to standard output.

Example:
  knock completion bash > /etc/bash_completion.d/knock
  knock completion zsh > /usr/local/share/zsh/site-functions/_knock
  knock completion fish > ~/.config/fish/completions/knock.fish`, "knock", name),
			Action: writeScript,
		},
		{
			Name:   Hidden,
			Hidden: true,
			// The last of the words after "--" is the one to complete, perhaps
			// empty. A candidate a line; with a tab, what it means.
			Action: func(c *cli.Context) error {
				words := command.Rest(c)
				if len(words) == 0 {
					words = []string{""}
				}
				for _, candidate := range Candidates(c.Context, c.App, words, arguments) {
					word, meaning, has := strings.Cut(candidate, "\t")
					if command.Shell([]string{word}) != word {
						continue // a file's name that a shell might act on
					}
					if has {
						word += "\t" + say.Plain(meaning)
					}
					if err := say.Data(c.App.Writer, word+"\n"); err != nil {
						return err
					}
				}
				return nil
			},
		},
	}
}

func writeScript(c *cli.Context) error {
	shell := c.Args().First()
	if shell == "" {
		return command.NoArgument(c)
	}
	if !slices.Contains(Shells(), shell) {
		return command.Usagef("there are: "+strings.Join(Shells(), ", "), "no completion for %q", shell)
	}
	text, err := scripts.ReadFile("scripts/knock." + shell)
	if err != nil {
		return err
	}
	return say.Data(c.App.Writer, strings.ReplaceAll(string(text), "knock", c.App.Name))
}
