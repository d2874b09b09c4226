package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"knockkit/internal/command"
	"knockkit/internal/config"
	"knockkit/protocol"
	"knockkit/server"
)

// checkProfiles reports everything that is wrong: in each file, and between them.
func checkProfiles(h *host) error {
	c := h.c
	entries, err := h.entries(c.Args().Slice())
	if err != nil {
		return err
	}
	broken, closed := 0, 0
	var good, all []*protocol.Profile
	for _, e := range entries {
		if errors.Is(e.Err, fs.ErrPermission) {
			closed++
			h.words.Error(e.Err)
			continue
		}
		if e.Err != nil {
			broken++
			fault := new(config.BrokenError)
			if errors.As(e.Err, &fault) {
				h.words.Block(fault.Diagnostics.Error())
			} else {
				h.words.Error(e.Err)
				h.words.Hint(todo(e.Err))
			}
			continue
		}
		h.warn(e)
		all = append(all, e.Profile)
		if e.Profile.Enabled {
			good = append(good, e.Profile)
		}
	}
	misplaced := h.warnMisplaced(all...)
	problems := protocol.Check(good)
	for _, p := range problems {
		h.words.Error(p)
	}
	if broken+len(problems) > 0 {
		return &command.Error{Code: command.Usage}
	}
	if closed > 0 {
		return &command.Error{Code: command.Privilege, Hint: asRoot()}
	}
	if !misplaced { // which is no fault of the file elsewhere, or later
		h.words.Note("%s", checked(len(entries)))
	}
	for _, note := range h.keyless(good) {
		h.words.Note("%s", note)
	}
	if i := slices.IndexFunc(good, (*protocol.Profile).IsSigned); i >= 0 && h.settings.Backend == "iptables" {
		h.words.Warning("%s", &server.SignedError{Profile: good[i].Name})
		h.words.Advice("set backend = \"nftables\" in knockd.toml")
	}
	return nil
}

func checked(n int) string {
	if n == 1 {
		return "1 profile is fine"
	}
	return fmt.Sprintf("%d profiles are fine, alone and together", n)
}

// entries reads the named profiles or files; none named: the whole folder.
func (h *host) entries(names []string) ([]config.Entry, error) {
	if len(names) == 0 {
		entries, err := h.folders.List()
		if err != nil {
			return nil, usage(err)
		}
		return entries, nil
	}
	var entries []config.Entry
	for _, name := range names {
		if strings.ContainsRune(name, filepath.Separator) || strings.HasSuffix(name, ".toml") {
			entries = append(entries, config.ReadProfile(name))
			continue
		}
		e, err := h.folders.Load(name)
		if unknown := new(config.UnknownProfileError); errors.As(err, &unknown) {
			return nil, h.profileError(err, name)
		}
		entries = append(entries, e)
	}
	return entries, nil
}
