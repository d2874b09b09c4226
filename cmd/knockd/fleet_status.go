package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"knockkit/internal/command"
	"knockkit/internal/say"
	"knockkit/server/service"
)

func fleetStatusCommand() *cli.Command {
	return &cli.Command{
		Name: "status", Usage: "the nodes of the fleet, and what this one has still to tell", Action: on(fleetStatus), Flags: []cli.Flag{jsonFlag()},
		Description: `It asks the service of this host. Exits with 1 where that has no part in a fleet, or the store
does not answer: then nodes that are connected are told, and others later.

--json prints one object: "fleet", "node", "engine" (whether this node runs one), "connected", "since",
"why" (not connected), "clock" (seconds that this clock is behind the fleet's), "leases" and "endings" (that it
knows), "waiting" (what the store does not have yet), "forged" and "strangers" (what was
refused), and "nodes", which are {"node", "state", "since", "engine", "version", "clock"}: the state is "connected",
"away" or "not seen".

Example:
  knockd fleet status
  knockd fleet status --json | jq -r '.nodes[] | select(.state != "connected") | .node'`,
	}
}

// fleetForm is what `fleet status --json` prints.
type fleetForm struct {
	Fleet     string     `json:"fleet"`
	Node      string     `json:"node"`
	Engine    bool       `json:"engine"`
	Connected bool       `json:"connected"`
	Since     *string    `json:"since"`
	Why       *string    `json:"why"`
	Clock     float64    `json:"clock"`
	Leases    int        `json:"leases"`
	Endings   int        `json:"endings"`
	Waiting   int        `json:"waiting"`
	Forged    uint64     `json:"forged"`
	Strangers uint64     `json:"strangers"`
	Nodes     []nodeForm `json:"nodes"`
}

type nodeForm struct {
	Node    string  `json:"node"`
	State   string  `json:"state"`
	Since   *string `json:"since"`
	Engine  bool    `json:"engine"`
	Version string  `json:"version"`
	Clock   float64 `json:"clock"`
}

func fleetStatus(h *host) error {
	if h.settings.Fleet == nil {
		return &command.Error{Code: command.Failed, Err: errors.New("knockd.toml has no [fleet]"), Hint: "to make one: knockd fleet init --help"}
	}
	answer, told := service.Ask(h.c.Context)
	if !told {
		return &command.Error{Code: command.Failed, Err: errors.New("no service runs here, or it does not answer: this host takes no part in the fleet"), Hint: "systemctl start knockd, or: knockd run"}
	}
	s := answer.Fleet
	if s == nil {
		return &command.Error{Code: command.Failed, Err: errors.New("the service takes no part in the fleet"), Hint: "its log says why; after a change of [fleet]: systemctl restart knockd"}
	}
	f := formOfFleet(s)
	if h.c.Bool("json") {
		if err := printJSON(h.c, f); err != nil {
			return err
		}
	} else if err := h.printFleet(s, f); err != nil {
		return err
	}
	switch {
	case s.Apart:
		return &command.Error{Code: command.Failed, Err: fmt.Errorf("the clock of this host is %s off the fleet's: it takes no part", say.Duration(s.Ahead.Abs())), Hint: "timedatectl set-ntp true"}
	case !s.Connected:
		return &command.Error{Code: command.Failed, Err: fmt.Errorf("the store does not answer: %s", s.Why)}
	}
	return nil
}

func formOfFleet(s *service.FleetState) fleetForm {
	f := fleetForm{Fleet: s.Name, Node: s.Node, Engine: s.Engine, Connected: s.Connected, Since: timeOrNull(s.Since), Clock: s.Ahead.Seconds(), Leases: s.Leases, Endings: s.Endings,
		Waiting: s.Waiting, Forged: s.Forged, Strangers: s.Strangers, Nodes: []nodeForm{}}
	if s.Why != "" {
		f.Why = &s.Why
	}
	seen := map[string]bool{s.Node: true}
	for _, p := range s.Peers {
		state := "away"
		if p.Connected {
			state = "connected"
		}
		seen[p.Name] = true
		f.Nodes = append(f.Nodes, nodeForm{p.Name, state, timeOrNull(p.Since), p.Engine, p.Version, p.Ahead.Seconds()})
	}
	for _, name := range s.Engines {
		if !seen[name] {
			f.Nodes = append(f.Nodes, nodeForm{Node: name, State: "not seen", Engine: true})
		}
	}
	return f
}

func (h *host) printFleet(s *service.FleetState, f fleetForm) error {
	ago := func(t *string) string {
		if t == nil {
			return "-"
		}
		since, err := time.Parse(time.RFC3339, *t)
		if err != nil {
			return *t
		}
		return say.Duration(max(time.Since(since).Truncate(time.Second), 0))
	}
	rows := [][]string{{f.Node, "this node", ago(f.Since), engineText(f.Engine), command.Version, ""}}
	for _, n := range f.Nodes {
		clock := ""
		if n.State == "connected" {
			clock = fmt.Sprintf("%+.3fs", n.Clock)
		}
		rows = append(rows, []string{n.Node, n.State, ago(n.Since), engineText(n.Engine), n.Version, clock})
	}
	if err := say.Table(h.c.App.Writer, []string{"NODE", "STATE", "FOR", "ENGINE", "VERSION", "CLOCK"}, rows); err != nil {
		return err
	}
	if err := say.Print(h.c.App.Writer, "\n%s: leases %d, endings %d, not stored yet %d", f.Fleet, f.Leases, f.Endings, f.Waiting); err != nil {
		return err
	}
	if text := lossText(s); text != "" {
		return say.Print(h.c.App.Writer, "%s", text)
	}
	return nil
}

func engineText(engine bool) string {
	if engine {
		return "yes"
	}
	return "no"
}

// lossText says what the loss of engines means.
func lossText(s *service.FleetState) string {
	all := len(s.Engines)
	if all == 0 {
		return ""
	}
	connected := 0
	if s.Engine && s.Connected {
		connected++
	}
	for _, p := range s.Peers {
		if p.Engine && p.Connected {
			connected++
		}
	}
	needed := all/2 + 1
	switch spare := connected - needed; {
	case all == 1:
		return "one engine: without it, nodes are told nothing"
	case spare < 0:
		return fmt.Sprintf("%d of %d engines are connected, and the store needs %d", connected, all, needed)
	case spare == 0:
		return fmt.Sprintf("%d of %d engines are connected: the loss of one more stops the store", connected, all)
	default:
		return fmt.Sprintf("%d of %d engines are connected: the store survives the loss of %d", connected, all, spare)
	}
}
