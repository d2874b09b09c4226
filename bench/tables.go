//go:build linux

package main

import (
	"fmt"
	"strings"

	"knockkit/bench/stage"
	"knockkit/bench/stat"
	"knockkit/protocol"
)

// notMeasured is what a table says of a program that is not installed.
const notMeasured = "not measured"

// markdown writes a table; all columns but the first are numbers.
func markdown(header []string, rows [][]string) string {
	var b strings.Builder
	row := func(cells []string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	row(header)
	b.WriteString("|---" + strings.Repeat("|---:", len(header)-1) + "|\n")
	for _, cells := range rows {
		row(cells)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// PacketTable shows nanoseconds a packet of one kind, rules by number of profiles.
func (p *page) PacketTable(kind stage.Kind) string {
	var rows [][]string
	for _, r := range stage.AllRules() {
		rows = append(rows, p.costs(r.Name, r, probe{kind, protocol.IPv4}))
	}
	return markdown(byNumber(string(kind), counts()), rows)
}

// byNumber is the header of a table by a number.
func byNumber(first string, of []int) []string { return append([]string{first}, labels(of)...) }

// costs is the row of one packet.
func (p *page) costs(name string, r stage.Rules, pr probe) []string {
	cells := []string{name}
	for _, n := range counts() {
		if !r.Profiles {
			n = 0
		}
		ns, ok := costOf(p.Packets, r.Name, n, pr)
		cells = append(cells, orNone(ok, thousands(int(ns))))
	}
	return cells
}

// PacketTable6 shows what our rules cost over IPv6, as PacketTable does.
func (p *page) PacketTable6() string {
	var rows [][]string
	for _, kind := range stage.Kinds() {
		for _, r := range stage.AllRules() {
			if r.IPv6 {
				rows = append(rows, p.costs(r.Name+": "+string(kind), r, probe{kind, protocol.IPv6}))
			}
		}
	}
	return markdown(byNumber("", counts()), rows)
}

// Kinds is for the template.
func (p *page) Kinds() []stage.Kind { return stage.Kinds() }

// Spread is the widest spread of a packet's cost, in percent of the median.
func (p *page) Spread() int {
	widest := 0.0
	for _, c := range p.Packets {
		for _, s := range c.NS {
			widest = max(widest, s.Spread())
		}
	}
	return int(widest*100 + 0.5)
}

// Rounds is how often each cost was measured.
func (p *page) Rounds() int { return p.Packets[0].NS[probe{stage.Elsewhere, protocol.IPv4}].Count }

// OpeningTable shows how long openers take to open, and what their daemons cost.
func (p *page) OpeningTable() string {
	var rows [][]string
	for _, o := range p.Opening {
		switch {
		case o.Missing:
			rows = append(rows, []string{o.Name, notMeasured, "", "", ""})
		case o.NoDaemon:
			rows = append(rows, []string{o.Name, times(o.MS, "ms"), visits(o.MS.Count, o.MS.Count+o.Failed), "no process", "no process"})
		default:
			rows = append(rows, []string{o.Name, times(o.MS, "ms"), visits(o.MS.Count, o.MS.Count+o.Failed),
				fmt.Sprintf("%.1f s", o.Elsewhere), fmt.Sprintf("%.1f s", o.Strangers)})
		}
	}
	return markdown([]string{"", "opens after", "opened", "daemon, a million packets to other ports", "daemon, a million that it looks at"}, rows)
}

// FloodTable shows the share of visits that open in a flood of first knocks, opener by rate.
func (p *page) FloodTable() string {
	return markdown(byNumber("spoofed first knocks a second", rates()), p.floodRows(flooded(), false))
}

// OwnFloodTable shows it for a flood of packets that the opener has to read.
func (p *page) OwnFloodTable() string {
	header := []string{"packets a second that are no knock"}
	for _, rate := range ownRates() {
		header = append(header, rateText(rate))
	}
	return markdown(header, p.floodRows(ownFlooded(), true))
}

func (p *page) floodRows(openers []*opener, own bool) (rows [][]string) {
	for _, d := range openers {
		cells := []string{d.name}
		for _, r := range p.Floods {
			switch {
			case r.Name != d.name || r.Own != own:
			case r.Missing:
				cells = append(cells, notMeasured)
			case r.Failed != nil:
				cells = append(cells, "failed")
			default:
				cells = append(cells, r.String())
			}
		}
		rows = append(rows, cells)
	}
	return rows
}

// String is a cell: how many visits opened and after how long, and the rate where none was asked for.
func (r *floodResult) String() string {
	text := visits(r.Opens, r.Visits)
	if r.Opens > 0 {
		text += ", " + milliseconds(r.MS.Median)
	}
	if r.Rate == stage.AtMost {
		text += fmt.Sprintf(" (%s a second)", thousands(int(r.Sent)))
	}
	return text
}

// rateText writes a rate of a flood.
func rateText(rate int) string {
	if rate == stage.AtMost {
		return "as many as the machine makes"
	}
	return thousands(rate)
}

// Tokens is how many tokens of the right client reached the host in all floods, and how many of them the
// kernel took.
func (p *page) Tokens() (t struct{ Arrived, Taken int }) {
	for _, r := range p.Floods {
		t.Arrived += r.Arrived
		t.Taken += r.Taken
	}
	return t
}

// Program says how the program knock fared.
func (k *knockFlood) Program() string {
	if k.Opens == 0 {
		return fmt.Sprintf("of %d runs none opened", k.Runs)
	}
	attempts := "all with the first attempt"
	if k.Attempts > 1 {
		attempts = fmt.Sprintf("with at most %d attempts", k.Attempts)
	}
	return fmt.Sprintf("%s runs opened, %s, after %s (%s to %s) from start to end of the program", visits(k.Opens, k.Runs), attempts,
		exactly(k.Seconds.Median), exactly(k.Seconds.Low), exactly(k.Seconds.High))
}

// Rate is how many random tokens a second came about.
func (k *knockFlood) Rate() string { return thousands(int(k.Sent)) }

// Slow lists floods that did not come about at the rate that was asked for.
func (p *page) Slow() string {
	var slow []string
	for _, r := range p.Floods {
		if !r.Missing && r.Failed == nil && r.Sent < 0.9*float64(r.Rate) {
			what := ""
			if r.Own {
				what = " in the second table"
			}
			slow = append(slow, fmt.Sprintf("%s%s at %s: %s", r.Name, what, thousands(r.Rate), thousands(int(r.Sent))))
		}
	}
	return strings.Join(slow, "; ")
}

// PositionTable shows what becomes of many sources at once.
func (p *page) PositionTable() string {
	var rows [][]string
	for _, r := range p.Positions {
		memory := fmt.Sprintf("%.1f MB", megabytes(r.Bytes))
		if r.Bytes < noise {
			memory = "less than 0.5 MB"
		}
		opens := "no"
		if r.Opens {
			opens = "yes"
		}
		rows = append(rows, []string{r.Name, thousands(r.Sources), thousands(r.Positions), memory, milliseconds(float64(r.Status.Milliseconds())), opens})
	}
	return markdown([]string{"", "sources that knocked first", "in a position", "memory", "`knockd status` takes", "the right client opens"}, rows)
}

// noise is what else the kernel takes and gives back meanwhile, in bytes.
const noise = 1 << 19

func times(s stat.Sample, unit string) string {
	if s.Count == 0 {
		return "never"
	}
	return fmt.Sprintf("%s %s (%s to %s)", short(s.Median), unit, short(s.Low), short(s.High))
}

func visits(opened, all int) string { return fmt.Sprintf("%d of %d", opened, all) }

func milliseconds(ms float64) string { return short(ms) + " ms" }

// short writes two digits that matter.
func short(v float64) string {
	switch {
	case v < 1:
		return fmt.Sprintf("%.2f", v)
	case v < 10:
		return fmt.Sprintf("%.1f", v)
	}
	return thousands(int(v + 0.5))
}

// thousands writes a whole number with its thousands apart.
func thousands(n int) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

func orNone(ok bool, text string) string {
	if !ok {
		return "–"
	}
	return text
}
