package main

import (
	"cmp"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"knockkit/internal/command"
	"knockkit/internal/kernel/claim"
	"knockkit/internal/say"
	"knockkit/protocol"
	"knockkit/server"
	"knockkit/server/doctor"
)

func statusCommand() *cli.Command {
	return &cli.Command{
		Name:      "status",
		Usage:     "who is in a position, has a lease or is banned, and whether the gates are in force",
		ArgsUsage: "[NAME...]",
		Description: `A profile is in force when the kernel runs it as its file says, where packets come in, and no
rule of others undoes it. Below the table are the reasons of those that are not. One that is
changed has its gate, as the file and knockd.toml were when it was installed.

--json prints one object. Its "profiles" are {"name", "state", "open", "lease", "reasons"}: the
state is "installed", "changed", "not installed", "disabled" or "no file", and reasons say
why it is not in force. Its "sources" are {"profile", "address", "state", "step", "steps",
"expires_in"}, and "user" where somebody has opened the lease of a signed profile: one source for
each. The state is "knocking", "open" or "banned". Times are seconds, and null where there is no end. About the host, whatever NAMEs say, are "backend", "drift", "foreign" (rules
of others that lead into our chains) and "tables", which are {"name", "entries", "limit"}.

Example:
  knockd status
  knockd status --json | jq '.sources[] | select(.state == "open")'
  knockd status --check    # for monitoring`,
		Flags: []cli.Flag{
			jsonFlag(),
			&cli.BoolFlag{Name: "check", Usage: "exit 1 unless every enabled profile, of those named, is in force"},
		},
		Action: on(status),
	}
}

func status(h *host) error {
	c := h.c
	files, broken, err := h.files()
	if err != nil {
		return err
	}
	s, err := h.live(c.Context)
	if err != nil {
		return err
	}
	names := c.Args().Slice()
	st, err := s.Status(c.Context, files, names)
	if err != nil {
		return explainError(err)
	}
	broken = slices.DeleteFunc(broken, func(b server.BrokenFile) bool { return len(names) > 0 && !slices.Contains(names, b.Profile) })
	st.AddBroken(broken)
	for _, name := range names {
		if !st.Has(name) {
			return command.Usagef("see: knockd status", "no profile %q, neither installed nor in %s", name, h.folders)
		}
	}
	reasons, err := h.reasons(st)
	if err != nil {
		return err
	}
	st.AddChanged(reasons)
	to := c.App.Writer // reasons are part of the answer; beside JSON they are words
	if c.Bool("json") {
		to, err = c.App.ErrWriter, printJSON(c, formOf(st, reasons))
	} else {
		err = printStatus(c, st, reasons)
	}
	if err != nil {
		return err
	}
	printReasons(to, reasons)
	if text := unlisted(st); text != "" {
		_ = say.Print(to, "%s", text)
	}
	h.problems(st)
	switch {
	case st.Signed && !claim.InUse(claim.Service):
		h.words.Warning("the service is not running: signed profiles are shut, or will be within a minute")
		h.words.Advice("systemctl enable --now knockd, or knockd run")
	case st.NoTokens:
		h.words.Warning("nobody can open signed profiles: the kernel has no tokens that are valid now")
		h.words.Advice("the service gives it new ones, and its log says why it does not")
	case !st.Opens.IsZero():
		h.words.Note("signed profiles are shut until %s: %s", say.Clock(st.Opens, time.Now()), st.Why)
	}
	if err := unread(broken); err != nil {
		return err
	}
	if c.Bool("check") && len(reasons) > 0 {
		return &command.Error{Code: command.Failed}
	}
	return nil
}

// reasons prints why enabled profiles are not in force.
func (h *host) reasons(st server.Status) ([]server.Reason, error) {
	var enabled, live []*protocol.Profile
	for _, p := range st.Profiles {
		if p.Enabled {
			enabled = append(enabled, p.Profile)
			if p.Live() {
				live = append(live, p.Profile)
			}
		}
	}
	network, err := server.ReadNetwork(enabled)
	if err != nil {
		return nil, err
	}
	certain, possible, err := doctor.Shadows(h.c.Context, doctor.ShadowInput{Backend: st.Backend, Profiles: live, Network: network, Saved: st.Saved})
	if err != nil {
		return nil, err
	}
	for _, r := range possible {
		h.words.Warning("%s", h.withFile(r.String()))
	}
	all := server.NotInForce(st, h.settings, network, certain)
	for i := range all {
		all[i].Todo = h.withFile(all[i].Todo)
	}
	return all, nil
}

// printReasons writes a line for each: "drift: …" where rules are not as committed, and
// once what to do about that.
func printReasons(to io.Writer, reasons []server.Reason) {
	drift := ""
	for _, r := range reasons {
		if r.Kind == server.ReasonDrift {
			drift = r.Todo
			_ = say.Print(to, "drift: %s", r.Found)
			continue
		}
		what := map[server.ReasonKind]string{server.ReasonChanged: "changed", server.ReasonUnread: "not known"}[r.Kind]
		_ = say.Print(to, "%s: %s", cmp.Or(what, "not in force"), r)
	}
	if drift != "" {
		_ = say.Print(to, "not in force: the rules are not those that were committed: %s", drift)
	}
}

// unlisted says how many sources are in a position, where not all are listed.
func unlisted(st server.Status) string {
	listed := map[netip.Prefix]bool{}
	for _, s := range st.Sources {
		if s.State == server.Knocking {
			listed[s.Address] = true
		}
	}
	switch {
	case st.Positions < 0:
		return fmt.Sprintf("sources in a position: more than the %d listed; the kernel does not say how many", len(listed))
	case st.Positions > len(listed):
		return fmt.Sprintf("sources in a position: %d, of which %d are listed", st.Positions, len(listed))
	}
	return ""
}

func printStatus(c *cli.Context, st server.Status, reasons []server.Reason) error {
	var rows [][]string
	for _, p := range st.Profiles {
		if p.Broken != nil && !p.Live() { // nothing else is known of it
			rows = append(rows, []string{p.Profile.Name, string(p.State), "", "", "", ""})
			continue
		}
		live := ""
		if p.Live() {
			live = st.Backend
		}
		state := string(p.State)
		if p.Enabled && p.Live() && slices.ContainsFunc(reasons, func(r server.Reason) bool {
			return p.About(r) && r.Kind != server.ReasonChanged && r.Kind != server.ReasonUnread
		}) {
			state = "not in force"
		}
		rows = append(rows, []string{p.Profile.Name, state, live, strings.Join(say.Texts(p.Profile.Open), " "), lease(p.Profile.Lease), count(st, p.Profile.Name)})
	}
	if err := say.Table(c.App.Writer, []string{"PROFILE", "STATE", "BACKEND", "OPENS", "LEASE", "NOW"}, rows); err != nil || len(st.Sources) == 0 {
		return err
	}
	heads := []string{"ADDRESS", "USER", "PROFILE", "STATE", "STEPS", "LEFT"}
	rows = nil
	users := slices.ContainsFunc(st.Sources, func(s server.Source) bool { return len(s.Users) > 0 })
	for _, s := range byUser(st.Sources) {
		rows = append(rows, []string{protocol.PrefixText(s.Address), userOf(s), s.Profile, string(s.State), dots(s), timeLeft(s)})
	}
	if !users { // as where no profile is signed
		heads = slices.Delete(heads, 1, 2)
		for i := range rows {
			rows[i] = slices.Delete(rows[i], 1, 2)
		}
	}
	if err := say.Print(c.App.Writer, ""); err != nil {
		return err
	}
	return say.Table(c.App.Writer, heads, rows)
}

func lease(d time.Duration) string {
	if d == 0 {
		return "no end"
	}
	return say.Duration(d)
}

// count says how many sources are in and how many on their way: at least, where there are more
// than were read.
func count(st server.Status, profile string) string {
	open, read := 0, 0
	for _, s := range st.Sources {
		if s.Profile == profile && s.State == server.Open {
			open++
		}
	}
	for _, n := range st.Knocking {
		read += n
	}
	more := ""
	if st.Positions < 0 || st.Positions > read {
		more = "+"
	}
	return fmt.Sprintf("%d open, %d%s knocking", open, st.Knocking[profile], more)
}

// dots shows how far a source is: ●●○.
func dots(s server.Source) string {
	return strings.Repeat("●", s.Step) + strings.Repeat("○", max(s.Steps-s.Step, 0))
}

// usersText lists the users of a lease of a signed profile.
func usersText(s server.Source) string {
	var names []string
	for _, u := range s.Users {
		if !slices.Contains(names, u.Name) {
			names = append(names, u.Name)
		}
	}
	return strings.Join(names, ", ")
}

func timeLeft(s server.Source) string {
	if s.Unlimited {
		return "no end"
	}
	return say.Duration(s.Left)
}

// problems prints what else is wrong.
func (h *host) problems(st server.Status) {
	enabled := false
	for _, p := range st.Profiles {
		enabled = enabled || p.Enabled
		if r, is := p.Leftover(); is {
			h.words.Warning("%s, %s: %s", r.Found, r.Why, r.Todo)
		}
	}
	if !enabled {
		h.words.Note("no profile is enabled%s: nothing has to be in force", map[bool]string{true: " of those named"}[h.c.NArg() > 0])
	}
	for _, a := range st.Advice {
		if a.Kind == server.ReasonSmall { // it stays so, and this command is typed often
			h.words.Warning("%s: %s", a.Found, pasted(h.c, "see: knockd doctor"))
		} else {
			h.words.Warning("%s", h.withFile(a.String()))
		}
	}
}
