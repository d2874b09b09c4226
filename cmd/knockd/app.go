package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"

	"github.com/urfave/cli/v2"

	"knockkit/internal/command"
	"knockkit/internal/completion"
	"knockkit/internal/config"
	"knockkit/internal/docs"
	"knockkit/internal/say"
	"knockkit/protocol"
	"knockkit/server"
)

func newApp() *cli.App {
	app := &cli.App{
		Name: "knockd",
		Metadata: map[string]any{
			command.Synonyms:     synonyms(),
			command.TakesRest:    []string{"explain", completion.Hidden},
			command.FirstProfile: firstProfile,
		},
		Usage:   "gates in the kernel's packet filter that knocks open",
		Version: command.Version,
		Description: `The kernel is the server: profiles become rules, and no process sees a packet.

A first gate:
  knockd profile new mysql        # prints the file that it writes
  knockd install mysql --dry-run  # the exact text that would be committed
  knockd install mysql
  knockd status

Exit codes: 0 done, 1 failed, 2 a wrong command line, profile or configuration,
4 needs a privilege; 130 after Ctrl-C, 143 after SIGTERM (run and watch end with 0).
Without any argument this help goes to standard error, with 2.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "config", Usage: "use the configuration in `DIR` instead of /etc/knockd ($KNOCKD_CONFIG)", TakesFile: true},
		},
		Commands: []*cli.Command{
			runCommand(), watchCommand(),
			profileCommand(), keyCommand(), fleetCommand(), renderCommand(), installCommand(), removeCommand(), statusCommand(),
			grantCommand(), revokeCommand(), unbanCommand(), explainCommand(), graphCommand(), importCommand(), doctorCommand(), demoCommand(), guardCommand(), demoKnockCommand(),
			docs.Command("8", "knock(1)"),
		},
	}
	app.Commands = append(app.Commands, completion.Commands(app.Name, arguments)...)
	limitArguments(app.Commands)
	return app
}

// host is the configuration of a command, and its messages.
type host struct {
	folders  config.Folders
	settings server.Settings
	words    *say.Printer
	c        *cli.Context
	loaded   []config.Entry // the files that profiles has read
	why      string         // this backend, where the settings leave it open
	runs     string         // the backend that a service opened last
}

// on is a command's action that begins with the configuration.
func on(do func(h *host) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		h, err := open(c)
		if err != nil {
			return err
		}
		return do(h)
	}
}

// open reads the configuration of the command line.
func open(c *cli.Context) (*host, error) {
	h := &host{words: say.To("knockd", c.App.ErrWriter), c: c}
	var err error
	if h.folders, err = config.Server(c.String("config"), os.Getenv); err != nil {
		return nil, usage(err)
	}
	file, text, err := h.folders.Read("knockd.toml", server.MaxSettingsSize)
	if errors.Is(err, fs.ErrNotExist) {
		h.settings = server.DefaultSettings()
		return h, nil
	}
	if err != nil {
		return nil, usage(err)
	}
	settings, diagnostics := server.ParseSettings(file, text)
	if diagnostics.HasErrors() {
		return nil, &command.Error{Code: command.Usage, Err: errors.New("knockd.toml has errors"), Detail: diagnostics.Error()}
	}
	h.settings = settings
	return h, nil
}

// server returns the server with the backend that the settings or the flag name.
func (h *host) server(ctx context.Context) (*server.Server, error) {
	return h.with(server.OpenBackend(ctx, h.backendName(), h.toRun()...))
}

// toRun returns what a backend has to be able to run: the profiles of the command line, and the enabled
// ones of the folder, as far as they can be read.
func (h *host) toRun() (all []*protocol.Profile) {
	for _, e := range h.loaded {
		all = append(all, e.Profile)
	}
	entries, _ := h.folders.List() // who needs the files says what is wrong with them
	for _, e := range entries {
		if e.Err == nil && e.Profile.Enabled {
			all = append(all, e.Profile)
		}
	}
	return all
}

// live returns the server with the backend that holds rules at the moment.
func (h *host) live(ctx context.Context) (*server.Server, error) {
	return h.with(server.OpenLive(ctx, h.backendName()))
}

func (h *host) backendName() string {
	if h.c.IsSet("backend") {
		return h.c.String("backend")
	}
	return h.settings.Backend
}

func (h *host) with(b server.Backend, why string, err error) (*server.Server, error) {
	if err != nil {
		return nil, explainError(err)
	}
	h.why = why
	s := server.New(b, h.settings)
	s.Acted = h.acted
	s.Waiting = func(other server.Owner) { h.words.Note("waiting for knockd (%s)", other) }
	return s, nil
}

// profiles loads the named profiles, or all that are enabled when none is named. That
// there is none at all is an error: to install nothing would be a removal.
func (h *host) profiles(names []string) ([]*protocol.Profile, error) {
	if len(names) == 0 {
		all, err := h.enabled()
		if err == nil && len(all) == 0 {
			err = command.Usagef("knockd profile new NAME makes one; to remove what is installed: knockd remove --all", "no enabled profile in %s", h.folders)
		}
		return all, err
	}
	var all []*protocol.Profile
	for i, name := range names {
		if slices.Contains(names[:i], name) {
			continue
		}
		e, err := h.folders.Load(name)
		if err != nil {
			return nil, h.profileError(err, name)
		}
		h.loaded = append(h.loaded, e)
		all = append(all, e.Profile)
	}
	return all, nil
}

// enabled loads every profile that is not disabled. One broken file fails all:
// what was meant is not known.
func (h *host) enabled() ([]*protocol.Profile, error) {
	entries, err := h.folders.List()
	if err != nil {
		return nil, usage(err)
	}
	var all []*protocol.Profile
	for _, e := range entries {
		if e.Err != nil {
			return nil, h.profileError(e.Err, e.Name)
		}
		if e.Profile.Enabled {
			h.loaded = append(h.loaded, e)
			all = append(all, e.Profile)
		}
	}
	return all, nil
}

// files loads every profile that can be used, and returns the others with the reason.
func (h *host) files() (all []*protocol.Profile, broken []server.BrokenFile, err error) {
	entries, err := h.folders.List()
	if err != nil {
		return nil, nil, usage(err)
	}
	for _, e := range entries {
		if e.Err != nil {
			broken = append(broken, server.BrokenFile{Profile: e.Name, Err: e.Err})
			continue
		}
		all = append(all, e.Profile)
	}
	return all, broken, nil
}

// misplaced returns why `interface` and `to` of profiles match nothing on this host now, and
// the network as it was read for that. What cannot be read is said.
func (h *host) misplaced(profiles ...*protocol.Profile) (server.Network, []server.Reason) {
	network, err := server.ReadNetwork(profiles)
	if err != nil {
		h.words.Warning("cannot check `interface` and `to`: %v", err)
		return network, nil
	}
	var all []server.Reason
	for _, p := range profiles {
		all = append(all, network.GatesNothing(p)...)
	}
	return network, all
}

// warnMisplaced warns of what misplaced returns, and reports whether there is any.
func (h *host) warnMisplaced(profiles ...*protocol.Profile) bool {
	_, reasons := h.misplaced(profiles...)
	for _, r := range reasons {
		h.words.Warning("%s", r)
	}
	return len(reasons) > 0
}

func (h *host) warn(e config.Entry) {
	if len(e.Warnings) > 0 && !h.words.Quiet {
		h.words.Block(e.Warnings.Error())
	}
}

// profileError advises on a profile that could not be loaded.
func (h *host) profileError(err error, wrong string) error {
	if errors.Is(err, fs.ErrPermission) {
		return usage(err)
	}
	return command.ProfileError(h.c, err, wrong)
}
