package main

import (
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// TestEverySynonymLeadsToACommandThatIsThere, is none itself, and is there once.
func TestEverySynonymLeadsToACommandThatIsThere(t *testing.T) {
	app := newApp()
	find := func(path []string) bool {
		commands := app.Commands
		for _, word := range path {
			var c *cli.Command
			for _, other := range commands {
				if other.HasName(word) && !other.Hidden {
					c = other
				}
			}
			if c == nil {
				return false
			}
			commands = c.Subcommands
		}
		return true
	}
	seen := map[string]bool{}
	for _, s := range synonyms() {
		for word := range strings.FieldsSeq(s.Typed) {
			typed := strings.TrimSpace(s.Group + " " + word)
			if find(strings.Fields(typed)) || seen[typed] {
				t.Errorf("%q is a command, or is there twice", typed)
			}
			seen[typed] = true
		}
		for right := range strings.SplitSeq(s.Right, ", ") {
			path, _, _ := strings.Cut(right, "--")
			if right != "--version" && s.Right != "" && !find(strings.Fields(path)) {
				t.Errorf("%q of %q is no command", right, s.Typed)
			}
		}
		if s.Right == "" && s.Say == "" {
			t.Errorf("%q leads nowhere", s.Typed)
		}
	}
}
