package main

import (
	"context"
	"os"
	"slices"
	"strings"

	"knockkit/internal/completion"
	"knockkit/protocol"
)

// arguments says what can be typed at a place: a profile, a host, or a shell. profiles
// reads the profiles of a configuration folder ("": the usual ones).
func arguments(profiles func(dir string) []*protocol.Profile) completion.Arguments {
	return func(_ context.Context, at completion.Cursor) []string {
		command := ""
		if len(at.Command) > 0 {
			command = at.Command[0]
		}
		switch {
		case at.Flag == "host":
			return hostWords(profiles(at.Config))
		case at.Flag == "source":
			return sourceWords()
		case at.Flag == "interface":
			return interfaceWords()
		case at.Flag != "":
			return nil
		case at.Rest: // the command that is run
			return []string{completion.Files}
		case command == "proxy" && len(at.Args) == 1:
			return hostWords(profiles(at.Config))
		case len(at.Args) > 0 && command != "forward":
			return nil
		case slices.Contains([]string{"", "close", "show", "proxy", "forward"}, command):
			return profileWords(profiles(at.Config), at.Word)
		case command == "completion":
			return completion.Shells()
		}
		return nil
	}
}

// profileWords returns PROFILE for every profile, and PROFILE@HOST behind an "@": with
// the hosts of the profile, or of all profiles if it has none.
func profileWords(profiles []*protocol.Profile, typed string) []string {
	name, _, at := strings.Cut(typed, "@")
	var words []string
	for _, p := range profiles {
		switch {
		case !at:
			words = append(words, strings.TrimSuffix(p.Name+"\t"+p.Description, "\t"))
		case p.Name == name:
			hosts := p.Hosts
			if len(hosts) == 0 {
				hosts = hostWords(profiles)
			}
			for _, host := range hosts {
				words = append(words, name+"@"+host)
			}
		}
	}
	return words
}

// hostWords returns the hosts of the profiles, each once.
func hostWords(profiles []*protocol.Profile) []string {
	var hosts []string
	for _, p := range profiles {
		hosts = append(hosts, p.Hosts...)
	}
	slices.Sort(hosts)
	return slices.Compact(hosts)
}

// readableProfiles returns the profiles that can be read. Nothing is said of others: a
// person is in the middle of typing.
func readableProfiles(configDir string) []*protocol.Profile {
	f, err := foldersOf(configDir, os.Getenv)
	if err != nil {
		return nil
	}
	entries, err := f.List()
	if err != nil {
		return nil
	}
	var profiles []*protocol.Profile
	for _, e := range entries {
		if e.Profile != nil {
			profiles = append(profiles, e.Profile)
		}
	}
	return profiles
}
