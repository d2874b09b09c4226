package main

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"knockkit/internal/command"
	"knockkit/internal/config"
	"knockkit/internal/say"
)

// serverCommands are those of knockd that people may look for here.
var serverCommands = []string{"doctor", "explain", "fleet", "grant", "graph", "import", "install", "key", "profile", "remove", "render", "revoke", "run", "unban", "watch"}

// unknownProfile returns the error of a first argument that names no profile, with what was
// likely meant. stray is what follows that no profile is followed by.
func unknownProfile(c *cli.Context, unknown *config.UnknownProfileError, typed string, stray []string) error {
	if _, err := netip.ParseAddr(unknown.Name); err == nil {
		return command.Usagef("without a profile, say where to knock: knock "+unknown.Name+" 7000 8000:udp", "%w", unknown)
	}
	if c.Command.Name != c.App.Name || typed != unknown.Name {
		return command.ProfileError(c, unknown, typed)
	}
	if hint := otherWord(typed, stray); hint != "" {
		return command.Usagef(hint, "%w", unknown)
	}
	return command.Usagef(strings.Join(meant(c, unknown, stray), "\n"), "%w", unknown)
}

// meant returns hints for a first argument that is neither a command nor a profile.
func meant(c *cli.Context, unknown *config.UnknownProfileError, stray []string) []string {
	right, one := unknown.Closest(), closestCommand(c, unknown.Name)
	if one != nil && (stray != nil || right == "" && !needsArgument(one)) {
		right = one.Name
	}
	if right != "" {
		return []string{"did you mean: " + command.Corrected(c, unknown.Name, right)}
	}
	hints := []string{command.KnownProfiles(c, unknown)}
	if one != nil {
		hints = append(hints, "the command needs a profile: "+one.UsageText)
	}
	return hints
}

// otherWord returns the hint for a word that other programs have for something of ours, and for
// a command of the server.
func otherWord(word string, rest []string) string {
	switch word {
	case "ls", "profiles":
		return "did you mean: knock list"
	case "version":
		return "did you mean: knock --version"
	case "open", "unlock":
		if len(rest) == 0 {
			rest = []string{"PROFILE"}
		}
		return "did you mean: " + command.Shell(append([]string{"knock"}, rest...))
	case "uninstall":
		return "on the server: knockd remove"
	}
	if slices.Contains(serverCommands, word) {
		return "on the server: knockd " + word
	}
	return ""
}

// closestCommand returns the command that a word was likely meant to be, nil when none is near.
func closestCommand(c *cli.Context, word string) *cli.Command {
	commands := c.App.VisibleCommands()
	var names []string
	for _, one := range commands {
		names = append(names, one.Names()...)
	}
	right := say.Closest(word, names)
	for _, one := range commands {
		if one.HasName(right) {
			return one
		}
	}
	return nil
}

// needsArgument reports whether the usage of a command, "knock close PROFILE", goes on with
// something that is not in brackets.
func needsArgument(one *cli.Command) bool {
	words := strings.Fields(one.UsageText)
	return len(words) > 2 && !strings.HasPrefix(words[2], "[")
}
