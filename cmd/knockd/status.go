package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"knockkit/internal/command"
	"knockkit/internal/say"
	"knockkit/protocol"
	"knockkit/server"
	"knockkit/server/backend"
	"knockkit/server/doctor"
)

func statusCommand() *cli.Command {
	return &cli.Command{
		Name:        "status",
		Usage:       "who is in a position, holds a lease or is banned, and whether the rules are still ours",
		ArgsUsage:   "[NAME...]",
		Description: "Example:\n  knockd status\n  knockd status --json | jq '.[] | select(.state == \"open\")'\n  knockd status --check    # exit 1 when the rules have drifted",
		Flags: []cli.Flag{
			jsonFlag(),
			&cli.BoolFlag{Name: "check", Usage: "exit 1 when the installed rules are not those that were committed"},
		},
		Action: status,
	}
}

// sourceLine is one element of `status --json`.
type sourceLine struct {
	Profile   string   `json:"profile"`
	Address   string   `json:"address"`
	State     string   `json:"state"`
	Step      int      `json:"step"`
	Steps     int      `json:"steps"`
	ExpiresIn *float64 `json:"expires_in"` // seconds; null: no end
}

func status(c *cli.Context) error {
	h, err := open(c)
	if err != nil {
		return err
	}
	files, err := h.files()
	if err != nil {
		return err
	}
	s, err := h.live(c.Context)
	if err != nil {
		return err
	}
	st, err := s.Status(c.Context, files, c.Args().Slice())
	if err != nil {
		return explainError(err)
	}
	for _, name := range c.Args().Slice() {
		if !st.Has(name) {
			return command.Usagef("see: knockd status", "no profile %q, neither installed nor in %s", name, h.folders)
		}
	}
	if c.Bool("json") {
		err = printJSON(c, sourceLines(st.Sources))
		h.drift(st, c.App.ErrWriter)
	} else {
		err = printStatus(c, st)
		h.drift(st, c.App.Writer)
	}
	if err != nil {
		return err
	}
	h.problems(st)
	if c.Bool("check") && len(st.Drift) > 0 {
		return &command.Error{Code: command.Failed}
	}
	return nil
}

func sourceLines(sources []backend.Source) []sourceLine {
	lines := []sourceLine{}
	for _, s := range sources {
		l := sourceLine{Profile: s.Profile, Address: holder(s), State: string(s.State), Step: s.Step, Steps: s.Steps}
		if !s.Unlimited {
			left := s.Left.Round(10 * time.Millisecond).Seconds()
			l.ExpiresIn = &left
		}
		lines = append(lines, l)
	}
	return lines
}

// holder is the address, or the prefix where a lease covers more than one.
func holder(s backend.Source) string {
	if s.Address.IsSingleIP() {
		return s.Address.Addr().String()
	}
	return s.Address.String()
}

func printStatus(c *cli.Context, st server.Status) error {
	var rows [][]string
	for _, p := range st.Profiles {
		var opens []string
		for _, o := range p.Profile.Open {
			opens = append(opens, o.String())
		}
		live := ""
		if p.State == server.StateInstalled || p.State == server.StateChanged || p.State == server.StateNoFile {
			live = st.Backend
		}
		rows = append(rows, []string{p.Profile.Name, string(p.State), live, strings.Join(opens, " "), lease(p.Profile.Lease), count(st, p.Profile.Name)})
	}
	if err := say.Table(c.App.Writer, []string{"PROFILE", "STATE", "BACKEND", "OPENS", "LEASE", "NOW"}, rows); err != nil || len(st.Sources) == 0 {
		return err
	}
	rows = nil
	for _, s := range st.Sources {
		rows = append(rows, []string{holder(s), s.Profile, string(s.State), dots(s), timeLeft(s)})
	}
	fmt.Fprintln(c.App.Writer)
	return say.Table(c.App.Writer, []string{"ADDRESS", "PROFILE", "STATE", "STEPS", "LEFT"}, rows)
}

func lease(d time.Duration) string {
	if d == 0 {
		return "no end"
	}
	return say.Duration(d)
}

// count says how many sources are on their way and how many are in.
func count(st server.Status, profile string) string {
	n := map[backend.State]int{}
	for _, s := range st.Sources {
		if s.Profile == profile {
			n[s.State]++
		}
	}
	return fmt.Sprintf("%d open, %d knocking", n[backend.Open], n[backend.Knocking])
}

// dots shows how far a source is: ●●○.
func dots(s backend.Source) string {
	return strings.Repeat("●", s.Step) + strings.Repeat("○", max(s.Steps-s.Step, 0))
}

func timeLeft(s backend.Source) string {
	if s.Unlimited {
		return "no end"
	}
	return say.Duration(s.Left)
}

// drift writes a line "drift: …" for each difference: part of the answer, and so
// on standard output unless that is JSON.
func (h *host) drift(st server.Status, to io.Writer) {
	for _, d := range st.Drift {
		fmt.Fprintln(to, say.Plain("drift: "+d))
	}
}

// problems says what is not as it should be.
func (h *host) problems(st server.Status) {
	var live []*protocol.Profile
	for _, p := range st.Profiles {
		if p.State != server.StateNotInstalled && p.State != server.StateDisabled {
			live = append(live, p.Profile)
		}
	}
	for _, shadow := range doctor.Shadows(h.c.Context, st.Backend, live) {
		h.words.Warning("%s", shadow)
	}
	for _, f := range st.Foreign {
		h.words.Warning("a rule that is not ours jumps into our chains, which is another way to progress: %s", f)
	}
	for _, f := range st.Fill {
		if f.Entries >= f.Limit {
			h.words.Warning("table %s is full (%d addresses): the oldest is forgotten for each new one; raise xt_recent's ip_list_tot (kernel command line xt_recent.ip_list_tot=10000, or modprobe's option)", f.Table, f.Limit)
		}
	}
}
