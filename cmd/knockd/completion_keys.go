package main

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"knockkit/internal/completion"
	"knockkit/internal/config"
)

// keyWords returns what the arguments of a command that is about keys can be: USER PROFILE, and with
// "key list" profiles.
func keyWords(command string, at completion.Cursor) []string {
	signed := func() []string { return signedWords(at.Config) }
	switch {
	case command == "key list":
		return without(signed(), at.Args)
	case len(at.Args) == 0:
		return slices.Sorted(maps.Keys(usersOfKeys(at.Config)))
	case len(at.Args) > 1:
		return nil
	case command == "key add":
		return signed()
	}
	return slices.DeleteFunc(signed(), func(word string) bool {
		name, _, _ := strings.Cut(word, "\t")
		return !slices.Contains(usersOfKeys(at.Config)[at.Args[0]], name)
	})
}

// userWords returns the users who have a key for one of the profiles, for any where none is named.
func userWords(at completion.Cursor) []string {
	users := usersOfKeys(at.Config)
	maps.DeleteFunc(users, func(_ string, has []string) bool {
		return len(at.Args) > 0 && !slices.ContainsFunc(has, func(name string) bool { return slices.Contains(at.Args, name) })
	})
	return slices.Sorted(maps.Keys(users))
}

// usersOfKeys returns the users who have a key, each with the profiles that it is for.
func usersOfKeys(configDir string) map[string][]string {
	folders, err := config.Server(configDir, os.Getenv)
	if err != nil {
		return nil
	}
	users := map[string][]string{}
	for _, dir := range folders.Dirs {
		files, _ := filepath.Glob(filepath.Join(escaped(dir), "keys", "*", "*.key")) // who may not read the folder sees none
		for _, file := range files {
			user, _, _ := strings.Cut(filepath.Base(file), ".")
			users[user] = append(users[user], filepath.Base(filepath.Dir(file)))
		}
	}
	return users
}

// escaped returns a path that a pattern matches as it is.
func escaped(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// signedWords returns the signed ones of the words for profiles.
func signedWords(configDir string) []string {
	folders, err := config.Server(configDir, os.Getenv)
	if err != nil {
		return nil
	}
	entries, _ := folders.List()
	return slices.DeleteFunc(profileWords(configDir), func(word string) bool {
		name, _, _ := strings.Cut(word, "\t")
		return !slices.ContainsFunc(entries, func(e config.Entry) bool { return e.Name == name && e.Profile != nil && e.Profile.Signed != nil })
	})
}

// without returns the words but those that were typed.
func without(words, typed []string) []string {
	return slices.DeleteFunc(words, func(word string) bool {
		name, _, _ := strings.Cut(word, "\t")
		return slices.Contains(typed, name)
	})
}
