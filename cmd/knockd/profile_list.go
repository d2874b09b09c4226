package main

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"knockkit/internal/config"
	"knockkit/internal/say"
	"knockkit/server"
)

const firstProfile = "knockd profile new NAME makes one"

func listCommand() *cli.Command {
	return &cli.Command{
		Name: "list", Usage: "list the profile files", Action: on(listProfiles),
		Flags: []cli.Flag{jsonFlag()},
		Description: `With --json a list of objects: name, file, enabled, description, sequence, signed (what carries
the token, or null), open, within and lease in seconds, null where there is no limit or no
end. within is the shortest time between two knocks. A file that cannot be used has an
error, and of the others only name and file.

Example:
  knockd profile list
  knockd profile list --json | jq -r '.[] | select(.enabled) | .open[]'`,
	}
}

// profileLine is a profile in `profile list --json`. Of a file that cannot be used, Name, File and
// Error are set.
type profileLine struct {
	Name        string   `json:"name"`
	File        string   `json:"file"`
	Enabled     *bool    `json:"enabled"`
	Description string   `json:"description"`
	Sequence    []string `json:"sequence"`
	Signed      *string  `json:"signed"`
	Open        []string `json:"open"`
	Within      *float64 `json:"within"` // seconds; null: no limit
	Lease       *float64 `json:"lease"`  // seconds; null: no end
	Error       string   `json:"error,omitempty"`
}

func lineOf(e config.Entry) profileLine {
	l := profileLine{Name: e.Name, File: e.File, Sequence: []string{}, Open: []string{}}
	if e.Err != nil {
		l.Error = oneLine(e.Err).Error()
		return l
	}
	p := e.Profile
	l.Enabled, l.Description, l.Open = &p.Enabled, p.Description, say.Texts(p.Open)
	l.Within, l.Lease = orNull(p.ShortestWithin()), orNull(p.Lease)
	for _, s := range p.Sequence {
		l.Sequence = append(l.Sequence, s.Knock.String())
	}
	if p.Signed != nil {
		carrier := p.Signed.Carrier.String()
		l.Signed = &carrier
	}
	return l
}

// orNull returns seconds, nil for 0: no end.
func orNull(d time.Duration) *float64 {
	if d == 0 {
		return nil
	}
	seconds := d.Seconds()
	return &seconds
}

func listProfiles(h *host) error {
	c := h.c
	entries, err := h.folders.List()
	if err != nil {
		return usage(err)
	}
	lines := []profileLine{}
	var broken []server.BrokenFile
	for _, e := range entries {
		lines = append(lines, lineOf(e))
		if e.Err != nil {
			broken = append(broken, server.BrokenFile{Profile: e.Name, Err: e.Err})
		}
	}
	if c.Bool("json") {
		if err := printJSON(c, lines); err != nil {
			return err
		}
		return unread(broken)
	}
	if len(lines) == 0 {
		h.words.Note("there are no profiles in %s yet: %s", h.folders, firstProfile)
		return nil
	}
	var rows [][]string
	for i, l := range lines {
		state := "enabled"
		switch {
		case errors.Is(entries[i].Err, fs.ErrPermission):
			state = "unreadable"
		case l.Error != "":
			state = "broken"
		case !*l.Enabled:
			state = "disabled"
		}
		sequence := strings.Join(l.Sequence, " ")
		if l.Signed != nil {
			sequence = "signed, by " + *l.Signed
		}
		rows = append(rows, []string{l.Name, state, sequence, strings.Join(l.Open, " "), l.Description})
	}
	if err := say.Table(c.App.Writer, []string{"PROFILE", "STATE", "SEQUENCE", "OPENS", "DESCRIPTION"}, rows); err != nil {
		return err
	}
	if slices.ContainsFunc(broken, func(b server.BrokenFile) bool { return !b.Unread() }) {
		h.words.Note("what is broken: knockd profile check")
	}
	return unread(broken)
}

func printJSON(c *cli.Context, v any) error {
	return say.JSON(c.App.Writer, "  ", v)
}
