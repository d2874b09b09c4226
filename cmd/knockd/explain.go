package main

import (
	"errors"
	"net/netip"
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

func explainCommand() *cli.Command {
	return &cli.Command{
		Name:      "explain",
		Usage:     "walk packets through the machine in words, without a kernel",
		ArgsUsage: "[NAME...] [-- KNOCK...]",
		Description: `A knock is icmp, PORT/tcp or PORT/udp; +TIME lets time pass, as +11s; a bare number is seconds.
Each knock comes at once after the one before it. No name: every enabled profile. Without
knocks each profile's own sequence is walked, and wrong ones like it: with another port in
between, one knock left out, too late.

Example:
  knockd explain mysql
  knockd explain mysql -- icmp echo/tcp 443/tcp 8000/tcp
  knockd explain mysql -- icmp +11s echo/tcp 8000/tcp`,
		Flags: []cli.Flag{
			jsonFlag(),
			&cli.StringFlag{Name: "family", Usage: "`F`: ipv4 or ipv6", Value: "ipv4"},
			&cli.StringFlag{Name: "from", Usage: "the source's `ADDR`, for profiles with from"},
		},
		Action: on(explain),
	}
}

// eventLine is one event of `explain --json`.
type eventLine struct {
	Walk    string   `json:"walk,omitempty"` // of which walk, where knockd has chosen the knocks
	Event   string   `json:"event"`
	At      float64  `json:"at"` // seconds since the first of the walk
	Before  string   `json:"before"`
	Entered string   `json:"entered"` // the position that the event leads to; nobody stays in one that is the end of a sequence
	After   string   `json:"after"`
	Why     string   `json:"why"`
	Granted []string `json:"granted"`
}

// walk is what one source sends, and where it comes in.
type walk struct {
	title  string   // "" for the knocks of the command line
	events []string // knocks and times, as they are typed
	packet protocol.Event
}

func explain(h *host) error {
	c := h.c
	typed := strings.Fields(strings.Join(command.Rest(c), " "))
	profiles, err := h.profiles(c.Args().Slice())
	if err != nil {
		return withDashes(c, err)
	}
	family, err := familyFlag(c)
	if err != nil {
		return err
	}
	if family == protocol.Both {
		family = protocol.IPv4
	}
	if problems := protocol.CheckTogether(profiles); len(problems) > 0 {
		return usage(problems[0])
	}
	a, err := protocol.Compile(profiles, family)
	if err != nil {
		return usage(err)
	}
	walks, err := h.walks(a, typed)
	if err != nil {
		return err
	}
	lines := []eventLine{}
	for i, w := range walks {
		of, err := h.walk(a, w)
		if err != nil {
			return err
		}
		if lines = append(lines, of...); !c.Bool("json") {
			if err := printWalk(c, i, w, of); err != nil {
				return err
			}
		}
	}
	if c.Bool("json") {
		return printJSON(c, lines)
	}
	return nil
}

// withDashes advises on a knock that was taken for the name of a profile.
func withDashes(c *cli.Context, err error) error {
	e, unknown := new(command.Error), new(config.UnknownProfileError)
	if !errors.As(err, &unknown) || !errors.As(err, &e) || !isEvent(unknown.Name) {
		return err
	}
	names := c.Args().Slice()
	knocks := slices.Concat([]string{"--"}, names[slices.Index(names, unknown.Name):], command.Rest(c))
	e.Hint = "knocks go after two dashes: " + retyped(knocks, knocks...)
	return e
}

// isEvent reports whether a word is a knock, also one that lacks its protocol, or a time.
func isEvent(word string) bool {
	_, err := format.ParseKnock(word)
	return err == nil || strings.HasPrefix(word, "+") || strings.Trim(word, "0123456789") == ""
}

// walks returns the walk of the knocks that were typed, without any those that teach about the
// profiles.
func (h *host) walks(a *protocol.Automaton, typed []string) ([]walk, error) {
	source, err := h.sourceFlag(a.Family)
	if err != nil {
		return nil, err
	}
	if len(typed) > 0 {
		w := walk{events: typed, packet: protocol.Event{Source: source}}
		for _, p := range a.Profiles {
			if w.packet.Interface == "" && !w.packet.Dest.IsValid() {
				w.comeIn(a.Family, p)
			}
		}
		return []walk{w}, nil
	}
	var all []walk
	for _, p := range a.Profiles {
		all = append(all, h.lessons(a, p, source)...)
	}
	if len(all) == 0 {
		return nil, command.Usagef("name another profile, or the other family with --family",
			"no sequence to walk over %s: the profiles have no gate there, nobody can open it, or they are signed", a.Family.Label())
	}
	return all, nil
}

// comeIn lets the packets come in where a profile expects them.
func (w *walk) comeIn(f protocol.Family, p *protocol.Profile) {
	scope := p.ScopeIn(f)
	w.packet.Interface = scope.Interface
	if len(scope.To) > 0 {
		w.packet.Dest = scope.To[0].Addr()
	}
}

// walk runs the reference machine over the events of one source.
func (h *host) walk(a *protocol.Automaton, w walk) ([]eventLine, error) {
	m := protocol.NewMachine(a, h.settings.Policy)
	start := time.Unix(0, 0)
	now := start
	lines := []eventLine{}
	for _, text := range w.events {
		if wait, ok := strings.CutPrefix(text, "+"); ok {
			d, err := command.ParseTime(wait)
			if err != nil {
				return nil, command.Usagef("for example +11s", "%s: %w", text, err)
			}
			now = now.Add(d)
			continue
		}
		k, err := format.ParseKnock(text)
		if err != nil {
			return nil, usage(err)
		}
		e := w.packet
		e.Time, e.Knock = now, k
		t := m.Step(e)
		l := eventLine{Walk: w.title, Event: k.String(), At: now.Sub(start).Seconds(), Entered: a.StateName(t.Entered), After: a.StateName(t.To), Why: t.Explain(a), Granted: []string{}}
		l.Before = a.StateName(t.From)
		if t.Expired != protocol.Root {
			l.Before = a.StateName(t.Expired)
		}
		if t.Entered == protocol.Root {
			l.Entered = l.After
		}
		for _, p := range t.Granted {
			l.Granted = append(l.Granted, p.Name)
		}
		lines = append(lines, l)
	}
	return lines, nil
}

// printWalk prints a walk as a table, with a title where there are several.
func printWalk(c *cli.Context, i int, w walk, lines []eventLine) error {
	if w.title != "" {
		title := w.title
		if i > 0 {
			title = "\n" + title
		}
		if err := say.Data(c.App.Writer, title+"\n"); err != nil {
			return err
		}
	}
	var rows [][]string
	for _, l := range lines {
		granted := ""
		if len(l.Granted) > 0 {
			granted = "opens " + strings.Join(l.Granted, ", ")
		}
		position := l.Before + " → " + l.Entered
		if l.After != l.Entered {
			position += " → " + l.After
		}
		rows = append(rows, []string{l.Event, position, l.Why, granted})
	}
	return say.Table(c.App.Writer, []string{"EVENT", "POSITION", "WHY", ""}, rows)
}

func (h *host) sourceFlag(family protocol.Family) (netip.Addr, error) {
	if !h.c.IsSet("from") {
		if family == protocol.IPv6 {
			return netip.MustParseAddr("2001:db8::7"), nil
		}
		return netip.MustParseAddr("198.51.100.7"), nil
	}
	addr, err := netip.ParseAddr(h.c.String("from"))
	if err != nil || protocol.FamilyOf(addr) != family {
		return addr, command.Usagef("with --family ipv6 for an IPv6 address", "--from: %q is not an %s address", h.c.String("from"), family)
	}
	return addr, nil
}
