package main

import (
	"os"
	"slices"
	"strings"

	"knockkit/internal/completion"
	"knockkit/internal/config"
)

// arguments lists the candidates for an argument: profiles, files, or a shell.
func arguments(at completion.Cursor) []string {
	if at.Rest {
		return nil // knocks
	}
	first := len(at.Args) == 0
	switch name := strings.Join(at.Command, " "); name {
	case "completion":
		if first {
			return completion.Shells()
		}
	case "profile add":
		return []string{completion.Files}
	case "grant", "revoke", "profile show", "profile edit", "profile remove":
		if first {
			return profileWords(at.Config)
		}
	case "render", "install", "remove", "status", "explain", "graph", "profile check":
		return slices.DeleteFunc(profileWords(at.Config), func(word string) bool {
			name, _, _ := strings.Cut(word, "\t")
			return slices.Contains(at.Args, name)
		})
	}
	return nil
}

// profileWords returns the name of every profile file, with what it is for. Nothing
// is said of errors: a person is in the middle of typing.
func profileWords(configDir string) []string {
	folders, err := config.Server(configDir, os.Getenv)
	if err != nil {
		return nil
	}
	entries, err := folders.List()
	if err != nil {
		return nil
	}
	var words []string
	for _, e := range entries {
		word := e.Name
		if e.Profile != nil && e.Profile.Description != "" {
			word += "\t" + e.Profile.Description
		}
		words = append(words, word)
	}
	return words
}
