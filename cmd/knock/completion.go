package main

import (
	"os"
	"slices"
	"strings"

	"knockkit/internal/completion"
)

// arguments says what can be typed at a place: a profile, or a shell. profiles lists
// the profiles of a configuration folder ("": the usual ones), or PROFILE@HOST.
func arguments(profiles func(dir string, withHosts bool) []string) completion.Arguments {
	return func(at completion.Cursor) []string {
		switch {
		case at.Rest: // the command that is run
			return []string{completion.Files}
		case len(at.Args) > 0:
			return nil
		case len(at.Command) == 0 || slices.Contains([]string{"close", "show", "proxy", "forward"}, at.Command[0]):
			return profiles(at.Config, strings.Contains(at.Word, "@"))
		case at.Command[0] == "completion":
			return completion.Shells()
		}
		return nil
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
