package main

import (
	"errors"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"knockkit/internal/command"
	"knockkit/internal/config"
	"knockkit/internal/say"
	"knockkit/protocol"
	"knockkit/protocol/format"
)

// profileJSON is a profile in --json of list and show.
type profileJSON struct {
	Name        string     `json:"name"`
	File        string     `json:"file"`
	Description string     `json:"description,omitempty"`
	Hosts       []string   `json:"hosts"`
	Any         bool       `json:"any,omitempty"`      // one of them that opens is enough
	Sequence    []stepJSON `json:"sequence,omitempty"` // show only: it is the secret
	Signed      string     `json:"signed,omitempty"`   // what carries the token
	Key         *keyJSON   `json:"key,omitempty"`      // of a signed profile
	Open        []string   `json:"open"`
	Lease       *float64   `json:"lease"` // seconds; null: no end
	Close       string     `json:"close,omitempty"`
	Error       string     `json:"error,omitempty"` // of a broken file
}

// keyJSON is a key without its secret; of one that cannot be used, Error alone is set.
type keyJSON struct {
	ID       string     `json:"id,omitempty"`
	User     string     `json:"user,omitempty"`
	Audience string     `json:"audience,omitempty"`
	Expires  *time.Time `json:"expires,omitempty"` // none: it has no end
	Disabled bool       `json:"disabled,omitempty"`
	Error    string     `json:"error,omitempty"`
}

type stepJSON struct {
	Knock  string  `json:"knock"`
	Within float64 `json:"within,omitempty"` // seconds since the knock before it
}

func listAction(c *cli.Context) error {
	if extra := c.Args().First(); extra != "" {
		return command.Usagef("knock show "+command.Shell([]string{extra}), "list takes no argument")
	}
	f, err := folders(c, os.Getenv)
	if err != nil {
		return err
	}
	entries, err := f.List()
	if err != nil {
		return command.ProfileError(c, err, "")
	}
	words := printer(c)
	for _, e := range entries {
		sayBroken(c, words, e.Err)
	}
	warnReadable(words, entries...)
	list, rows := []profileJSON{}, [][]string{{"NAME", "HOST", "OPENS", "LEASE", "KEY", "DESCRIPTION"}}
	signed := false
	for _, e := range entries {
		var key config.KeyEntry
		var noKey error
		if e.Profile != nil && e.Profile.Signed != nil {
			signed = true
			key, noKey = chosen{typed: e.Name, name: e.Name}.key(c, e)
			sayBroken(c, words, noKey)
		}
		list = append(list, toJSON(e, key.KeyFile, noKey))
		rows = append(rows, row(e, key.KeyFile))
	}
	if c.Bool("json") {
		return say.JSON(c.App.Writer, "", list)
	}
	if len(entries) == 0 {
		words.Note("there are no profiles in %s yet: %s", f, firstProfile)
		return nil
	}
	if !signed { // nobody here has keys
		for i, r := range rows {
			rows[i] = slices.Delete(r, 4, 5)
		}
	}
	return say.Columns(c.App.Writer, rows)
}

func row(e config.Entry, key *format.KeyFile) []string {
	if e.Profile == nil {
		return []string{e.Name, "-", "-", "-", "-", "(broken: see knock show " + e.Name + ")"}
	}
	p := e.Profile
	host := strings.Join(p.Hosts, ", ")
	if host == "" {
		host = "-"
	}
	return []string{p.Name, host, joined(say.Texts(p.Open)), lease(p.Lease), keyCell(p, key), p.Description}
}

func keyCell(p *protocol.Profile, key *format.KeyFile) string {
	switch {
	case p.Signed == nil:
		return "-"
	case key == nil:
		return "none"
	}
	return keyText(key)
}

// sayBroken prints to standard error the mistakes of files, for which the list has no room.
func sayBroken(c *cli.Context, words *say.Printer, err error) {
	if err == nil {
		return
	}
	if broken := new(config.BrokenError); errors.As(err, &broken) {
		words.Block(command.Mistakes(c, broken.Diagnostics))
	}
	warn(words, err)
}

func warn(words *say.Printer, err error) {
	words.Warning("%s", err)
	if e := new(command.Error); errors.As(err, &e) && e.Hint != "" {
		words.Advice(e.Hint)
	}
}

// toJSON takes the key of a signed profile, or why there is none.
func toJSON(e config.Entry, key *format.KeyFile, noKey error) profileJSON {
	j := profileJSON{Name: e.Name, File: e.File, Hosts: []string{}, Open: []string{}}
	if e.Profile == nil {
		j.Error = e.Err.Error()
		return j
	}
	j.Description = e.Profile.Description
	j.Hosts, j.Any = append(j.Hosts, e.Profile.Hosts...), e.Profile.AnyHost
	j.Open = say.Texts(e.Profile.Open)
	if e.Profile.Lease > 0 {
		seconds := e.Profile.Lease.Seconds()
		j.Lease = &seconds
	}
	if e.Profile.Signed != nil {
		j.Signed = e.Profile.Signed.Carrier.String()
	}
	switch {
	case noKey != nil:
		j.Key = &keyJSON{Error: noKey.Error()}
	case key != nil:
		j.Key = &keyJSON{ID: key.ID(), User: key.User, Audience: key.Audience, Disabled: key.Disabled}
		if !key.Expires.IsZero() {
			j.Key.Expires = &key.Expires
		}
	}
	if e.Profile.Close != nil {
		j.Close = e.Profile.Close.String()
	}
	return j
}

func joined(words []string) string { return strings.Join(words, ", ") }

func lease(d time.Duration) string {
	if d == 0 {
		return "no end"
	}
	return say.Duration(d)
}
