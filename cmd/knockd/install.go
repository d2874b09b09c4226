package main

import (
	"bufio"
	"fmt"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"knockkit/internal/command"
	"knockkit/internal/kernel/claim"
	"knockkit/internal/say"
	"knockkit/protocol"
	"knockkit/server"
	"knockkit/server/doctor"
	"knockkit/server/keys"
	"knockkit/server/service"
)

func renderCommand() *cli.Command {
	return &cli.Command{
		Name:        "render",
		Usage:       "print the exact text that install commits on a host without our rules",
		ArgsUsage:   "[NAME...]",
		Description: "No name: every enabled profile. For the changes on this host, see install --dry-run.\n\nExample:\n  knockd render mysql --family ipv4 > mysql.rules",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "backend", Usage: "render for backend `B`: iptables or nftables"},
			&cli.StringFlag{Name: "family", Usage: "only `F`: ipv4 or ipv6"},
		},
		Action: on(render),
	}
}

func render(h *host) error {
	c := h.c
	family, err := familyFlag(c)
	if err != nil {
		return err
	}
	profiles, err := h.profiles(c.Args().Slice())
	if err != nil {
		return err
	}
	if b := c.String("backend"); c.IsSet("backend") && !slices.Contains(server.Backends(), b) {
		return command.Usagef("iptables or nftables", "there is no backend %q", b)
	}
	s, err := h.server(c.Context)
	if err != nil {
		return err
	}
	texts, err := s.Render(profiles)
	if err != nil {
		return explainError(err)
	}
	return printTexts(c, texts, family)
}

func familyFlag(c *cli.Context) (protocol.Family, error) {
	switch f := c.String("family"); f {
	case "", "both":
		return protocol.Both, nil
	case "ipv4":
		return protocol.IPv4, nil
	case "ipv6":
		return protocol.IPv6, nil
	default:
		return 0, command.Usagef("ipv4 or ipv6", "there is no family %q", f)
	}
}

// printTexts writes each text below a line with its tool and family.
func printTexts(c *cli.Context, texts []server.Text, only protocol.Family) error {
	for _, t := range texts {
		if only != protocol.Both && t.Family != protocol.Both && t.Family != only {
			continue
		}
		if err := say.Data(c.App.Writer, "# "+t.Tool+"\n"+t.Text); err != nil {
			return err
		}
	}
	return nil
}

func installCommand() *cli.Command {
	return &cli.Command{
		Name:      "install",
		Usage:     "bring profiles into the kernel, beside those that are there",
		ArgsUsage: "[NAME...]",
		Description: `No name: every enabled profile; an installed profile without an enabled file is removed.
Positions and leases stay. When a profile opens more than before, its leases end.

Where a profile is installed as its file says, it is unchanged; where nothing differs, nothing
is committed, and a trial asks nothing.

A trial (--try) asks whether the new rules may stay. Any answer but y or yes, the end of the
input and the end of the time bring the old rules back. Where standard input is at its end before,
nothing is changed.

Example:
  knockd install mysql --dry-run
  knockd install ssh --try 30s    # the old rules come back unless you confirm`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "dry-run", Usage: "change nothing; print the text that would be committed"},
			command.TimeFlag("try", "put the old rules back after `TIME` unless you confirm"+bareNumber),
			&cli.BoolFlag{Name: "allow-lockout", Usage: "close the port of your own SSH session"},
		},
		Action: on(install),
	}
}

func install(h *host) error {
	c := h.c
	try := command.TimeOf(c, "try")
	if c.IsSet("try") && try < time.Second {
		return command.Usagef("for example --try 30s", "--try %s is too short to confirm anything", c.String("try"))
	}
	profiles, err := h.installable(c.Args().Slice())
	if err != nil {
		return err
	}
	for _, e := range h.loaded {
		h.warn(e)
	}
	s, err := h.server(c.Context)
	if err != nil {
		return err
	}
	o := server.InstallOptions{Exactly: c.NArg() == 0, DryRun: c.Bool("dry-run"), Try: try}
	if session, found := server.FindSession(); found && o.Try == 0 && !c.Bool("allow-lockout") {
		o.Guard = server.RefuseLockout(session)
	}
	var answers *bufio.Reader
	if o.Try > 0 && !o.DryRun {
		if answers, err = h.answers(); err != nil {
			return err
		}
		signal.Ignore(syscall.SIGTSTP) // Ctrl-Z between the commit and the start of the guard's clock would stop that, too
	}
	if !o.DryRun {
		service.Nudge(c.Context) // only a service can bring rules back with their leases that were flushed a moment ago
	}
	change, err := s.Install(c.Context, profiles, o)
	if err != nil {
		return explainError(err)
	}
	if o.DryRun {
		h.warnMisplaced(profiles...)
		if len(change.Texts) == 0 {
			h.words.Note("nothing would change")
		}
		return printTexts(c, change.Texts, protocol.Both)
	}
	if h.why != "" {
		h.words.Note("%s", h.why)
	}
	if change.From != "" {
		h.words.Note("moved here from backend %s, with its leases", change.From)
	}
	network, misplaced := h.misplaced(profiles...)
	for _, r := range misplaced {
		change.Notes = append(change.Notes, r.String())
	}
	shadows := func() (notes []string) {
		in := doctor.ShadowInput{Backend: s.Backend().Name(), Profiles: profiles, Network: network, Saved: change.Saved, Anew: true}
		certain, possible, _ := doctor.Shadows(c.Context, in) // an error says that the command is ended
		for _, r := range slices.Concat(certain, possible) {
			notes = append(notes, r.String())
		}
		return notes
	}
	if i := slices.IndexFunc(profiles, (*protocol.Profile).IsSigned); i >= 0 && !claim.InUse(claim.Service) {
		change.Notes = append(change.Notes, fmt.Sprintf("profile %s is signed, and shut without the service: systemctl enable --now knockd", profiles[i].Name))
	}
	change.Notes = append(change.Notes, h.keyless(profiles)...)
	if change.Guard == nil {
		change.Notes = append(change.Notes, shadows()...)
	}
	h.report(change, s.Backend().Name())
	if change.Guard != nil {
		return h.confirm(change.Guard, o.Try, answers, shadows)
	}
	if change.From != "" {
		h.beside("it works with backend " + change.From + " until it is started again, and brings the rules back there")
	}
	return nil
}

// keyless says which signed profiles nobody can open, since none of their keys may.
func (h *host) keyless(profiles []*protocol.Profile) (notes []string) {
	r, err := h.ring()
	if err != nil {
		return nil // doctor says so
	}
	for _, p := range profiles {
		if p.Signed != nil && len(keys.Usable(keys.Of(r.all, p.Name, ""), time.Now())) == 0 {
			notes = append(notes, fmt.Sprintf("nobody has a key for profile %s: knockd key add USER %s", p.Name, p.Name))
		}
	}
	return notes
}

// installable loads the profiles to install, and refuses disabled ones by name.
func (h *host) installable(names []string) ([]*protocol.Profile, error) {
	profiles, err := h.profiles(names)
	if err != nil {
		return nil, err
	}
	for _, p := range profiles {
		if !p.Enabled {
			return nil, command.Usagef("set enabled = true in "+h.folders.ProfileFile(p.Name), "profile %s is disabled", p.Name)
		}
	}
	return profiles, nil
}

// report prints what has changed.
func (h *host) report(c server.Change, backendName string) {
	tell := func(names []string, what string) {
		if len(names) > 0 {
			h.words.Note("%s: %s (%s)", what, say.Names(names), backendName)
		}
	}
	tell(c.Added, "installed")
	tell(c.Updated, "installed again")
	if len(c.Settings) > 0 {
		h.words.Note("%s of knockd.toml changed: that is for every profile", strings.Join(c.Settings, " and "))
	}
	tell(c.Unchanged, "unchanged")
	tell(c.Removed, "removed")
	for _, what := range c.Leases {
		h.words.Note("%s", what)
	}
	for _, note := range c.Notes {
		h.words.Warning("%s", h.withFile(note))
	}
}

func removeCommand() *cli.Command {
	return &cli.Command{
		Name:        "remove",
		Usage:       "take profiles out of the kernel; with --all every trace of them",
		ArgsUsage:   "[NAME...]",
		Description: "The files stay. The leases of these profiles end; others keep theirs.\n\nExample:\n  knockd remove mysql\n  knockd remove --all",
		Flags:       []cli.Flag{&cli.BoolFlag{Name: "all", Usage: "remove everything that knockd installed"}},
		Action:      on(remove),
	}
}

func remove(h *host) error {
	c := h.c
	switch {
	case c.NArg() == 0 && !c.Bool("all"):
		return command.Usagef("name profiles, or say --all", "nothing to remove was named")
	case c.NArg() > 0 && c.Bool("all"):
		return command.Usagef("", "--all and names exclude each other")
	}
	s, err := h.live(c.Context)
	if err != nil {
		return err
	}
	change, err := s.Remove(c.Context, c.Args().Slice())
	if err != nil {
		return explainError(err)
	}
	h.report(change, s.Backend().Name())
	if len(change.Removed) == 0 {
		h.words.Note("nothing was installed")
	}
	if again := h.wanted(change.Removed); len(again) > 0 && h.beside("it installs "+say.Names(again)+" again, as the files say") {
		h.words.Advice("to keep a profile out, set enabled = false in its file: " + h.folders.ProfileFile(again[0]))
	}
	return nil
}

// wanted returns those of the names that a service installs: their files are enabled, or cannot be
// read, and then it keeps what it knows of them.
func (h *host) wanted(names []string) []string {
	all, broken, err := h.files()
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		p := protocol.Find(all, name)
		isBroken := slices.ContainsFunc(broken, func(b server.BrokenFile) bool { return b.Profile == name })
		return err == nil && !isBroken && (p == nil || !p.Enabled)
	})
}

// beside warns of a running service that would undo the change, and reports whether there is one.
func (h *host) beside(what string) bool {
	service, found := service.Running()
	if found {
		h.words.Warning("knockd run (%s) looks after this host; %s", service.Process(), what)
	}
	return found
}
