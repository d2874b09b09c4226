package main

import (
	"net/netip"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"knockkit/internal/command"
	"knockkit/internal/say"
	"knockkit/protocol"
	"knockkit/protocol/format"
)

func explainCommand() *cli.Command {
	return &cli.Command{
		Name:      "explain",
		Usage:     "walk packets through the machine in words, without a kernel",
		ArgsUsage: "[NAME...] -- KNOCK...",
		Description: `A knock is icmp, PORT/tcp or PORT/udp; +TIME lets time pass. No name: every enabled
profile. Each knock comes at once after the one before it.

Example:
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
	Event   string   `json:"event"`
	At      float64  `json:"at"` // seconds since the first
	Before  string   `json:"before"`
	After   string   `json:"after"`
	Why     string   `json:"why"`
	Granted []string `json:"granted"`
}

func explain(h *host) error {
	c := h.c
	events := strings.Fields(strings.Join(command.Rest(c), " "))
	if len(events) == 0 {
		return command.Usagef("for example: knockd explain mysql -- icmp echo/tcp", "no knocks: they follow a --")
	}
	profiles, err := h.profiles(c.Args().Slice())
	if err != nil {
		return err
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
	lines, err := h.walk(a, events)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c, lines)
	}
	var rows [][]string
	for _, l := range lines {
		granted := ""
		if len(l.Granted) > 0 {
			granted = "opens " + strings.Join(l.Granted, ", ")
		}
		rows = append(rows, []string{l.Event, l.Before + " → " + l.After, l.Why, granted})
	}
	return say.Table(c.App.Writer, []string{"EVENT", "POSITION", "WHY", ""}, rows)
}

// walk runs the reference machine over the events of one source.
func (h *host) walk(a *protocol.Automaton, events []string) ([]eventLine, error) {
	source, err := h.sourceFlag(a.Family)
	if err != nil {
		return nil, err
	}
	m := protocol.NewMachine(a, h.settings.Policy)
	start := time.Unix(0, 0)
	now := start
	lines := []eventLine{}
	for _, text := range events {
		if wait, ok := strings.CutPrefix(text, "+"); ok {
			d, err := format.ParseDuration(wait)
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
		t := m.Step(protocol.Event{Time: now, Source: source, Knock: k})
		l := eventLine{Event: k.String(), At: now.Sub(start).Seconds(), After: a.StateName(t.To), Why: t.Explain(a), Granted: []string{}}
		l.Before = a.StateName(t.From)
		if t.Expired != protocol.Root {
			l.Before = a.StateName(t.Expired)
		}
		for _, p := range t.Granted {
			l.Granted = append(l.Granted, p.Name)
		}
		lines = append(lines, l)
	}
	return lines, nil
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
