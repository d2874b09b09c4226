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
Each knock comes at once after the one before it. token:NAME is the carrier of a signed profile
with a new token of a user; again is the packet before once more, with the same token. No name:
every enabled profile. Without knocks each profile's own sequence is walked, and wrong ones like
it: with another port in between, one knock left out, too late; for a signed profile a token,
the same one again, and its carrier without any.

Example:
  knockd explain mysql
  knockd explain mysql -- icmp echo/tcp 443/tcp 8000/tcp
  knockd explain mysql -- icmp +11s echo/tcp 8000/tcp
  knockd explain admin -- token:admin 2222/tcp again`,
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
	Gate    string   `json:"gate,omitempty"` // what the packet gets at a port that a profile opens
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
	return err == nil || strings.HasPrefix(word, "+") || strings.HasPrefix(word, tokenPrefix) || word == again || strings.Trim(word, "0123456789") == ""
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
			"nothing to walk over %s: the profiles have no gate there, or nobody can open it", a.Family.Label())
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
	e := w.packet
	e.Time = start
	lines := []eventLine{}
	for i, text := range w.events {
		if wait, ok := strings.CutPrefix(text, "+"); ok {
			d, err := command.ParseTime(wait)
			if err != nil {
				return nil, command.Usagef("for example +11s", "%s: %w", text, err)
			}
			e.Time = e.Time.Add(d)
			continue
		}
		if err := nextPacket(m, a, &e, i, text); err != nil {
			return nil, err
		}
		lines = append(lines, explained(m, a, e, text))
		lines[len(lines)-1].Walk, lines[len(lines)-1].At = w.title, e.Time.Sub(start).Seconds()
	}
	return lines, nil
}

// How packets with a token are typed.
const (
	tokenPrefix = "token:" // and the name of a signed profile: a new token of a user
	again       = "again"  // the packet before once more
)

// nextPacket makes the packet before into the one that a word stands for, the i-th of the line.
func nextPacket(m *protocol.Machine, a *protocol.Automaton, e *protocol.Event, i int, word string) error {
	name, signed := strings.CutPrefix(word, tokenPrefix)
	switch {
	case signed:
		p := protocol.Find(a.Profiles, name)
		if p == nil || p.Signed == nil {
			return command.Usagef("name a signed profile, here and in front of the two dashes", "%s: no profile that is explained is signed and called %q", word, name)
		}
		e.Knock, e.Token = p.Signed.Carrier, protocol.Token{1, byte(i >> 8), byte(i)} // any value that is not the zero one
		m.Load(p, "a user", e.Token, e.Time.Add(protocol.SlotTime))
	case word == again:
		if e.Knock == (protocol.Knock{}) {
			return command.Usagef("for example token:admin again", "again: no packet stands in front of it")
		}
	default:
		k, err := format.ParseKnock(word)
		if err != nil {
			return usage(err)
		}
		e.Knock, e.Token = k, protocol.Token{}
	}
	return nil
}

// explained runs the machine over one packet.
func explained(m *protocol.Machine, a *protocol.Automaton, e protocol.Event, typed string) eventLine {
	t := m.Step(e)
	l := eventLine{Event: e.Knock.String(), Before: a.StateName(t.From), Entered: a.StateName(t.Entered), After: a.StateName(t.To), Why: t.Explain(a), Granted: []string{}}
	if e.Token != (protocol.Token{}) || typed == again {
		l.Event = typed + " (" + l.Event + ")"
	}
	carries := func(p *protocol.Profile) bool { return p.Signed != nil && p.Signed.Carrier == e.Knock }
	if t.Token == protocol.NoToken && t.Entered == protocol.Root && slices.ContainsFunc(a.Profiles, carries) {
		l.Why = "without a token an ordinary packet; " + l.Why
	}
	if t.Expired != protocol.Root {
		l.Before = a.StateName(t.Expired)
	}
	if t.Entered == protocol.Root {
		l.Entered = l.After
	}
	for _, p := range t.Granted {
		l.Granted = append(l.Granted, p.Name)
	}
	switch g := m.Connect(e); {
	case g.Profile != nil:
		l.Gate = "let in by " + g.Profile.Name
	case g.Gated && g.Closed != protocol.ClosedContinue:
		l.Gate = "shut out: " + g.Closed.String()
	case g.Gated:
		l.Gate = "no lease: left to the host's other rules"
	}
	return l
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
		granted := l.Gate
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
