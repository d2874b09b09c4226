package completion

import (
	"embed"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"knockkit/internal/command"
	"knockkit/internal/say"
)

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
		return command.Help(c)
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
