package main

import (
	"context"
	"os"
	"slices"
	"strings"
	"time"

	"knockkit/internal/completion"
	"knockkit/internal/config"
	"knockkit/protocol"
	"knockkit/server"
)

// arguments lists the candidates for an argument: profiles, addresses, files, or a shell.
func arguments(ctx context.Context, at completion.Cursor) []string {
	command := strings.Join(at.Command, " ")
	switch {
	case at.Flag == "user" && command == "revoke":
		return userWords(at)
	case at.Flag != "":
		return valueWords(at.Flag, command)
	case at.Rest:
		return nil // knocks
	}
	first := len(at.Args) == 0
	switch command {
	case "completion":
		if first {
			return completion.Shells()
		}
	case "profile add", "import":
		return []string{completion.Files}
	case "revoke":
		if !first {
			return sourceWords(ctx, func(s server.Source) bool { return s.State == server.Open && s.Profile == at.Args[0] })
		}
		return profileWords(at.Config)
	case "unban":
		return sourceWords(ctx, func(s server.Source) bool { return s.State == server.Banned })
	case "grant", "profile show", "profile edit", "profile link", "profile remove":
		if first {
			return profileWords(at.Config)
		}
	case "render", "install", "remove", "status", "explain", "graph", "profile check":
		return without(profileWords(at.Config), at.Args)
	case "key add", "key link", "key remove", "key disable", "key enable", "key list":
		return keyWords(command, at)
	}
	return nil
}

// valueWords returns what a flag can be.
func valueWords(flag, command string) []string {
	switch {
	case flag == "backend" && command == "demo":
		return server.Backends()
	case flag == "backend":
		return slices.DeleteFunc(server.Backends(), func(name string) bool { return name == "auto" })
	case flag == "family":
		return []string{"ipv4", "ipv6"}
	case flag == "format":
		return []string{"mermaid", "dot"}
	}
	return nil
}

// sourceWords returns the addresses in the kernel that are meant: none without the
// right to read it, nor while another command holds the rules for long.
func sourceWords(ctx context.Context, meant func(server.Source) bool) []string {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	b, _, err := server.OpenLive(ctx, "auto")
	if err != nil {
		return nil
	}
	st, err := server.New(b, server.DefaultSettings()).Status(ctx, nil, nil)
	if err != nil {
		return nil
	}
	var words []string
	for _, source := range st.Sources {
		if meant(source) {
			words = append(words, protocol.PrefixText(source.Address))
		}
	}
	return words
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
