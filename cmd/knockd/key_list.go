package main

import (
	"time"

	"github.com/urfave/cli/v2"

	"knockkit/internal/say"
	"knockkit/server/keys"
)

func keyListCommand() *cli.Command {
	return &cli.Command{
		Name: "list", Usage: "list the keys, and when each was used last", ArgsUsage: "[PROFILE...]", Action: on(listKeys), Flags: []cli.Flag{jsonFlag()},
		Description: `With --json a list of objects: profile, user, id, audience, state (enabled, disabled or
expired), added, expires (null: no end), used and from (null: never, as far as is known),
file. The service writes when a key was used, at most half a minute later.

Example:
  knockd key list
  knockd key list admin --json | jq -r '.[] | select(.used == null) | .user'`,
	}
}

// keyForm is a key in `key list --json`.
type keyForm struct {
	Profile  string  `json:"profile"`
	User     string  `json:"user"`
	ID       string  `json:"id"`
	Audience string  `json:"audience"`
	State    string  `json:"state"`
	Added    *string `json:"added"`
	Expires  *string `json:"expires"`
	Used     *string `json:"used"`
	From     *string `json:"from"`
	File     string  `json:"file"`
}

func listKeys(h *host) error {
	r, err := h.ring()
	if err != nil {
		return err
	}
	which := r.all
	if named := h.c.Args().Slice(); len(named) > 0 {
		which = nil
		for _, profile := range named {
			of := keys.Of(r.all, profile, "")
			if len(of) == 0 {
				if _, err := h.folders.Load(profile); err != nil {
					return h.profileError(err, profile)
				}
			}
			which = append(which, of...)
		}
	}
	uses, err := r.state.LastUses()
	if err != nil {
		h.words.Warning("when keys were used is not known: %v", err)
	}
	for _, err := range r.broken {
		h.words.Warning("%v", err)
		if t := todo(err); t != "" {
			h.words.Advice(t)
		}
	}
	forms, rows := []keyForm{}, [][]string{}
	for _, e := range which {
		f := formOfKey(e, uses, time.Now())
		forms = append(forms, f)
		rows = append(rows, []string{f.Profile, f.User, f.ID, f.Audience, f.State, orDash(f.Expires), orDash(f.Used), orDash(f.From)})
	}
	if h.c.Bool("json") {
		return printJSON(h.c, forms)
	}
	if len(rows) == 0 {
		h.words.Note("there are no keys yet: knockd key add USER PROFILE makes one")
		return nil
	}
	return say.Table(h.c.App.Writer, []string{"PROFILE", "USER", "ID", "AUDIENCE", "STATE", "EXPIRES", "USED", "FROM"}, rows)
}

func formOfKey(e keys.Entry, uses map[string]keys.Use, now time.Time) keyForm {
	f := keyForm{Profile: e.Profile, User: e.User, ID: e.ID(), Audience: e.Audience, State: stateOfKey(e, now), File: e.File,
		Added: timeOrNull(e.Added), Expires: timeOrNull(e.Expires)}
	if use, ok := uses[f.ID]; ok {
		f.Used, f.From = timeOrNull(use.At), &use.From
	}
	return f
}

func stateOfKey(e keys.Entry, now time.Time) string {
	switch {
	case e.Disabled:
		return "disabled"
	case !e.Usable(now):
		return "expired"
	}
	return "enabled"
}

func timeOrNull(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	text := t.UTC().Format(time.RFC3339)
	return &text
}

func orDash(text *string) string {
	if text == nil {
		return "-"
	}
	return *text
}
