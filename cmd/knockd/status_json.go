package main

import (
	"time"

	"knockkit/internal/say"
	"knockkit/protocol"
	"knockkit/server"
)

// statusForm is the object of `status --json`. No list is null.
type statusForm struct {
	Backend  string        `json:"backend"`
	Profiles []profileForm `json:"profiles"` // by name
	Sources  []sourceForm  `json:"sources"`
	Drift    []string      `json:"drift"`   // where the rules are not those that were committed
	Foreign  []string      `json:"foreign"` // rules of others that lead into our chains
	Tables   []tableForm   `json:"tables"`  // the kernel's tables that have an entry
}

type profileForm struct {
	Name    string   `json:"name"`
	State   string   `json:"state"`
	Open    []string `json:"open"`    // empty for a file that cannot be used
	Lease   *float64 `json:"lease"`   // seconds; null: no end, or not known
	Reasons []string `json:"reasons"` // why it is not in force
}

type sourceForm struct {
	Profile   string   `json:"profile"` // "" for a ban
	Address   string   `json:"address"`
	State     string   `json:"state"`
	Step      int      `json:"step"`
	Steps     int      `json:"steps"`
	ExpiresIn *float64 `json:"expires_in"`     // seconds; null: no end
	User      string   `json:"user,omitempty"` // who has opened the lease of a signed profile
}

type tableForm struct {
	Name    string `json:"name"`
	Entries int    `json:"entries"`
	Limit   int    `json:"limit"`
}

func formOf(st server.Status, reasons []server.Reason) statusForm {
	form := statusForm{Backend: st.Backend, Profiles: []profileForm{}, Sources: []sourceForm{}, Tables: []tableForm{},
		Drift: append([]string{}, st.Drift...), Foreign: append([]string{}, st.Foreign...)}
	for _, p := range st.Profiles {
		l := profileForm{Name: p.Profile.Name, State: string(p.State), Open: say.Texts(p.Profile.Open), Reasons: []string{}}
		if p.Profile.Lease > 0 {
			l.Lease = seconds(p.Profile.Lease)
		}
		for _, r := range reasons {
			if p.About(r) {
				l.Reasons = append(l.Reasons, r.String())
			}
		}
		form.Profiles = append(form.Profiles, l)
	}
	for _, s := range byUser(st.Sources) {
		l := sourceForm{Profile: s.Profile, Address: protocol.PrefixText(s.Address), State: string(s.State), User: userOf(s), Step: s.Step, Steps: s.Steps}
		if !s.Unlimited {
			l.ExpiresIn = seconds(s.Left)
		}
		form.Sources = append(form.Sources, l)
	}
	for _, f := range st.Fill {
		form.Tables = append(form.Tables, tableForm{f.Table, f.Entries, f.Limit})
	}
	return form
}

func seconds(d time.Duration) *float64 {
	s := d.Round(10 * time.Millisecond).Seconds()
	return &s
}
