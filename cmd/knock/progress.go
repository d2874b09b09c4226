package main

import (
	"fmt"
	"strings"

	"knockkit/client"
	"knockkit/internal/say"
	"knockkit/protocol"
)

// progress fills one line of a terminal as the knocks go:
//
//	mysql  2 of 3 knocks
//
// The sequence is a secret, and others may see the terminal: only with details are knocks named.
//
//	mysql  icmp ✓  7/tcp ✓  8000/tcp …
type progress struct {
	details bool
	line    *say.Line
	name    string
	knocks  []protocol.Knock
	attempt int
	sent    int    // knocks of this attempt that left, to any address
	check   string // the opened port, once it is being checked
}

func newProgress(p *protocol.Profile, line *say.Line, details bool) *progress {
	return &progress{details: details, line: line, name: p.Name, knocks: p.Knocks(), attempt: 1}
}

// observe is client.Target.Observe. Of two addresses that are knocked on side
// by side it shows the one that is ahead.
func (g *progress) observe(e client.Progress) {
	if e.Attempt > g.attempt {
		g.attempt, g.sent, g.check = e.Attempt, 0, ""
	}
	if e.Attempt < g.attempt {
		return
	}
	if e.Check {
		g.check = e.Knock.String()
	}
	g.sent = max(g.sent, e.Step+1)
	g.line.Set(g.text())
}

func (g *progress) text() string {
	cells := []string{g.name}
	if g.attempt > 1 {
		cells[0] += fmt.Sprintf(" (attempt %d)", g.attempt)
	}
	if !g.details {
		cells = append(cells, fmt.Sprintf("%d of %d knocks", min(g.sent, len(g.knocks)), len(g.knocks)))
	}
	for i, k := range g.knocks {
		switch {
		case !g.details:
		case i < g.sent:
			cells = append(cells, k.String()+" ✓")
		case i == g.sent:
			cells = append(cells, k.String()+" …")
		}
	}
	if g.check != "" {
		cells = append(cells, g.check+" …")
	}
	return strings.Join(cells, "  ")
}
