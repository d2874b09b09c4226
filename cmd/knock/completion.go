package main

import (
	"embed"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"knockkit/internal/command"
)

// The scripts ask this program itself what can follow, so that they know the
// profiles and never an old version's flags.
//
//go:embed completion
var completionScripts embed.FS

func shells() []string { return []string{"bash", "zsh", "fish"} }

func completionCommand() *cli.Command {
	return &cli.Command{
		Name:        "completion",
		Usage:       "write a script that completes commands, flags and profiles",
		UsageText:   "knock completion bash|zsh|fish",
		Description: "Writes a script for a shell to standard output.\n\n   knock completion bash > /etc/bash_completion.d/knock\n   knock completion zsh > /usr/local/share/zsh/site-functions/_knock\n   knock completion fish > ~/.config/fish/completions/knock.fish",
		Action: func(c *cli.Context) error {
			shell := c.Args().First()
			if shell == "" {
				return command.Help(c)
			}
			if !slices.Contains(shells(), shell) {
				return command.Usagef("there are: "+joined(shells()), "no completion for %q", shell)
			}
			text, err := completionScripts.ReadFile("completion/knock." + shell)
			if err != nil {
				return err
			}
			_, err = c.App.Writer.Write(text)
			return err
		},
	}
}

// completeCommand is what the scripts call: knock __complete -- WORD..., the
// last of which is the one to complete, perhaps empty. It writes a candidate a
// line, with a tab and what it means where there is something to say; ":files"
// stands for the names of files.
func completeCommand() *cli.Command {
	return &cli.Command{
		Name:   "__complete",
		Hidden: true,
		Action: func(c *cli.Context) error {
			words := command.Rest(c)
			if len(words) == 0 {
				words = []string{""}
			}
			for _, candidate := range candidates(c.App, words, profileWords) {
				if _, err := fmt.Fprintln(c.App.Writer, candidate); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// profileWords returns PROFILE or PROFILE@HOST for every profile that can be
// read. Nothing is said of others: a person is in the middle of typing.
func profileWords(configDir string, withHosts bool) []string {
	f, err := foldersOf(configDir, os.Getenv)
	if err != nil {
		return nil
	}
	entries, err := f.List()
	if err != nil {
		return nil
	}
	var words []string
	for _, e := range entries {
		switch {
		case e.Profile == nil:
		case !withHosts:
			words = append(words, strings.TrimSuffix(e.Name+"\t"+e.Profile.Description, "\t"))
		default:
			for _, host := range e.Profile.Hosts {
				words = append(words, e.Name+"@"+host)
			}
		}
	}
	return words
}
