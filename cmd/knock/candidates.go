package main

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// candidates returns what the last of the words can be completed to, each with
// a tab and its meaning if there is one. profiles lists the profiles of a
// configuration folder ("": the usual ones), or PROFILE@HOST.
func candidates(app *cli.App, words []string, profiles func(dir string, withHosts bool) []string) []string {
	before, current := words[:len(words)-1], words[len(words)-1]
	flags, sub := app.Flags, (*cli.Command)(nil)
	var args []string
	dir := ""
	for i := 0; i < len(before); i++ {
		word := before[i]
		switch {
		case word == "--":
			return []string{":files"}
		case strings.HasPrefix(word, "-"):
			if !wantsValue(flags, word) {
				continue
			}
			if i++; i == len(before) { // the value is what is being typed
				return valueOf(word)
			}
			if word == "--config" {
				dir = before[i]
			}
		case sub == nil && len(args) == 0 && app.Command(word) != nil:
			sub = app.Command(word)
			flags = sub.Flags
		default:
			args = append(args, word)
		}
	}
	var all []string
	switch {
	case strings.HasPrefix(current, "-"):
		all = flagWords(flags)
	case len(args) > 0:
		return nil
	case sub == nil:
		for _, c := range app.VisibleCommands() {
			all = append(all, c.Name+"\t"+c.Usage)
		}
		all = append(all, profiles(dir, strings.Contains(current, "@"))...)
	case sub.Name == "completion":
		all = shells()
	case slices.Contains([]string{"close", "show", "proxy", "forward"}, sub.Name):
		all = profiles(dir, strings.Contains(current, "@"))
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

// valueOf returns what a flag's value can be.
func valueOf(flag string) []string {
	switch flag {
	case "--config", "--hosts-file":
		return []string{":files"}
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
	return words
}
