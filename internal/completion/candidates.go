package completion

import (
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
	Rest    bool     // the word stands behind "--"
	Word    string   // the part of it that is typed
	Config  string   // the folder of --config; "": the usual ones
}

// Arguments says what can be at a place where a flag is not being typed: candidates
// as of [Candidates], also those that do not begin with the word.
type Arguments func(Cursor) []string

// Candidates returns what the last of the words can be completed to, each with
// a tab and its meaning if there is one.
func Candidates(app *cli.App, words []string, arguments Arguments) []string {
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
			if !wantsValue(flags, word) {
				continue
			}
			if i++; i == len(before) { // the value is what is being typed
				return valueOf(word)
			}
			if word == "--config" {
				at.Config = before[i]
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
	var all []string
	if strings.HasPrefix(current, "-") && !at.Rest {
		all = flagWords(flags)
	} else {
		if len(at.Args) == 0 && !at.Rest {
			for _, c := range commands {
				all = append(all, c.Name+"\t"+c.Usage)
			}
		}
		all = append(all, arguments(at)...)
		if slices.Contains(all, Files) {
			return []string{Files}
		}
	}
	return slices.DeleteFunc(all, func(c string) bool { return !strings.HasPrefix(c, current) })
}

func wantsValue(flags []cli.Flag, word string) bool {
	name := strings.TrimLeft(word, "-")
	for _, f := range flags {
		if d, ok := f.(cli.DocGenerationFlag); ok && slices.Contains(f.Names(), name) {
			return d.TakesValue()
		}
	}
	return false
}

// valueOf returns the candidates for a flag's value.
func valueOf(flag string) []string {
	switch flag {
	case "--config", "--hosts-file":
		return []string{Files}
	}
	return nil
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

// Commands returns two commands for the named program: completion, which writes a
// script, and a hidden one that the scripts call.
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
			Name:   "__complete",
			Hidden: true,
			// The last of the words after "--" is the one to complete, perhaps
			// empty. A candidate a line; with a tab, what it means.
			Action: func(c *cli.Context) error {
				words := command.Rest(c)
				if len(words) == 0 {
					words = []string{""}
				}
				for _, candidate := range Candidates(c.App, words, arguments) {
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
