package main

import (
	"errors"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"knockkit/internal/command"
	"knockkit/internal/config"
	"knockkit/internal/say"
)

// profileJSON is a profile in --json of list and show.
type profileJSON struct {
	Name        string     `json:"name"`
	File        string     `json:"file"`
	Description string     `json:"description,omitempty"`
	Hosts       []string   `json:"hosts"`
	Sequence    []stepJSON `json:"sequence,omitempty"` // show only: it is the secret
	Signed      string     `json:"signed,omitempty"`   // what carries the token
	Open        []string   `json:"open"`
	Lease       *float64   `json:"lease"` // seconds; null: no end
	Close       string     `json:"close,omitempty"`
	Error       string     `json:"error,omitempty"` // of a broken file
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
		sayBroken(c, words, e)
	}
	warnReadable(words, entries...)
	if c.Bool("json") {
		list := make([]profileJSON, len(entries))
		for i, e := range entries {
			list[i] = toJSON(e)
		}
		return say.JSON(c.App.Writer, "", list)
	}
	if len(entries) == 0 {
		words.Note("there are no profiles in %s yet: %s", f, firstProfile)
		return nil
	}
	var rows [][]string
	for _, e := range entries {
		rows = append(rows, row(e))
	}
	return say.Table(c.App.Writer, []string{"NAME", "HOST", "OPENS", "LEASE", "DESCRIPTION"}, rows)
}

func row(e config.Entry) []string {
	if e.Profile == nil {
		return []string{e.Name, "-", "-", "-", "(broken: see knock show " + e.Name + ")"}
	}
	p := e.Profile
	host := strings.Join(p.Hosts, ", ")
	if host == "" {
		host = "-"
	}
	return []string{p.Name, host, joined(say.Texts(p.Open)), lease(p.Lease), p.Description}
}

// sayBroken prints to standard error the mistakes of files, for which the list has no room.
func sayBroken(c *cli.Context, words *say.Printer, e config.Entry) {
	if e.Err == nil {
		return
	}
	if broken := new(config.BrokenError); errors.As(e.Err, &broken) {
		words.Block(command.Mistakes(c, broken.Diagnostics))
	}
	words.Warning("%s", e.Err)
}

func toJSON(e config.Entry) profileJSON {
	j := profileJSON{Name: e.Name, File: e.File, Hosts: []string{}, Open: []string{}}
	if e.Profile == nil {
		j.Error = e.Err.Error()
		return j
	}
	j.Description = e.Profile.Description
	j.Hosts = append(j.Hosts, e.Profile.Hosts...)
	j.Open = say.Texts(e.Profile.Open)
	if e.Profile.Lease > 0 {
		seconds := e.Profile.Lease.Seconds()
		j.Lease = &seconds
	}
	if e.Profile.Signed != nil {
		j.Signed = e.Profile.Signed.Carrier.String()
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
