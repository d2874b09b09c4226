package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"knockkit/internal/command"
	"knockkit/internal/say"
	"knockkit/protocol"
	"knockkit/server"
	"knockkit/server/service"
)

// revokeUser ends what a user has opened of a signed profile.
func revokeUser(h *host) error {
	c := h.c
	user, see := c.String("user"), "see knockd revoke --help"
	switch {
	case c.Bool("all"):
		return command.Usagef(see, "--all and --user exclude each other")
	case c.NArg() == 0:
		return command.NoArgument(c)
	case c.NArg() > 1:
		return command.Usagef(see, "--user and an address exclude each other")
	}
	if err := protocol.CheckUser(user); err != nil {
		return command.Usagef("for example: knockd revoke "+c.Args().First()+" --user alice", "%w", err)
	}
	s, err := h.live(c.Context)
	if err != nil {
		return err
	}
	name := c.Args().First()
	r, err := s.RevokeUser(c.Context, name, user, c.Bool("cut"))
	switch {
	case errors.Is(err, server.ErrNotSigned):
		return command.Usagef("end a lease by its address: knockd revoke "+name+" ADDR", "profile %s is not signed, and has no users", name)
	case err != nil && len(r.Ended) == 0:
		return explainError(err)
	}
	service.Nudge(c.Context)
	for i, line := range userRevoked(name, user, r) {
		if i == 0 && c.Bool("cut") && err == nil {
			line += fmt.Sprintf("; connections ended: %d", r.Connections)
		}
		h.words.Note("%s", line)
	}
	return explainError(err)
}

// userRevoked says which leases are over, and which go on.
func userRevoked(profile, user string, r server.Revoked) (lines []string) {
	switch {
	case len(r.Ended) == 1:
		lines = []string{fmt.Sprintf("the lease of %s for %s is over, which %s had opened", protocol.PrefixText(r.Ended[0]), profile, user)}
	case len(r.Ended) > 1:
		lines = []string{fmt.Sprintf("leases of %s that %s had opened, and that are over: %d", profile, user, len(r.Ended))}
	case len(r.GoesOn) == 0:
		return []string{fmt.Sprintf("user %s: no lease of %s that lasts", user, profile)}
	}
	for _, s := range r.GoesOn {
		of, left := "it was given by hand", "until it is revoked"
		if len(s.Users) > 0 {
			of = strings.Join(userNames(s), ", ") + " opened it too"
		}
		if !s.Unlimited {
			left = "for " + say.Duration(s.Left)
		}
		lines = append(lines, fmt.Sprintf("the lease of %s for %s goes on %s: %s", protocol.PrefixText(s.Address), profile, left, of))
	}
	return lines
}

// userNames lists the users of a lease, each once.
func userNames(s server.Source) (names []string) {
	for _, one := range byUser([]server.Source{s}) {
		if user := userOf(one); user != "" {
			names = append(names, user)
		}
	}
	return names
}

// byUser makes an entry of each user of a lease, with the time that this one has. What a lease lasts
// longer than for its users was given by hand.
func byUser(sources []server.Source) (all []server.Source) {
	for _, s := range sources {
		seen, last := map[string]bool{}, server.User{}
		for _, u := range s.Users {
			if seen[u.Name] { // with another key: the first is the last that was used
				continue
			}
			seen[u.Name] = true
			one := s
			one.Users, one.Left, one.Unlimited = []server.User{u}, u.Left, u.Unlimited
			all = append(all, one)
			last.Left, last.Unlimited = max(last.Left, u.Left), last.Unlimited || u.Unlimited
		}
		const rounding = 2 * time.Second
		if len(s.Users) == 0 || !last.Unlimited && (s.Unlimited || s.Left > last.Left+rounding) {
			s.Users = nil
			all = append(all, s)
		}
	}
	return all
}

// userOf is the user of an entry of byUser, "" for none.
func userOf(s server.Source) string {
	if len(s.Users) == 0 {
		return ""
	}
	return s.Users[0].Name
}
