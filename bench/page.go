//go:build linux

package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"text/template"

	"knockkit/bench/badnet"
	"knockkit/bench/chart"
	"knockkit/bench/stage"
	"knockkit/protocol"
)

// plots returns the files beside the page, by name.
func (p *page) plots() map[string][]byte {
	all := map[string][]byte{}
	if p.Packets != nil {
		for _, kind := range stage.Kinds() {
			all[p.Plot(kind)] = p.packetPlot(kind)
		}
	}
	if p.Opening != nil {
		all["opening.svg"] = p.openingPlot()
	}
	if p.Commands != nil {
		all["install.svg"] = p.installPlot()
	}
	if p.Floods != nil {
		all["flood.svg"] = p.floodPlot()
	}
	return all
}

// Plot is the file of a kind, for the template.
func (p *page) Plot(kind stage.Kind) string {
	return map[stage.Kind]string{stage.Elsewhere: "elsewhere.svg", stage.Gated: "gated.svg", stage.First: "first.svg"}[kind]
}

func labels(of []int) []string {
	var all []string
	for _, n := range of {
		all = append(all, thousands(n))
	}
	return all
}

func (p *page) packetPlot(kind stage.Kind) []byte {
	l := chart.Lines{Title: "A stranger's packet to " + string(kind), X: "profiles", Y: "nanoseconds a packet", Labels: labels(counts()), Log: true}
	if kind == stage.First {
		l.Title = "A stranger's first knock"
	}
	for _, r := range stage.AllRules() {
		s := chart.Series{Name: r.Name, Dashed: !r.Profiles}
		for _, n := range counts() {
			if !r.Profiles {
				n = 0
			}
			ns, ok := costOf(p.Packets, r.Name, n, probe{kind, protocol.IPv4})
			if !ok {
				ns = math.NaN() // a gap
			}
			s.Values = append(s.Values, ns)
		}
		l.Series = append(l.Series, s)
	}
	return l.SVG()
}

func (p *page) openingPlot() []byte {
	b := chart.Bars{Title: "From the last knock to the answer of the port", Unit: "milliseconds (each line is ten times the one before)", Log: true}
	for _, o := range p.Opening {
		if !o.Missing {
			b.Bars = append(b.Bars, chart.Bar{Name: o.Name, Value: o.MS.Median})
		}
	}
	return b.SVG()
}

func (p *page) installPlot() []byte {
	l := chart.Lines{Title: "Install", X: "profiles", Y: "seconds", Labels: labels(commandProfiles()), Log: true}
	for _, v := range variants() {
		install, add := chart.Series{Name: v.Name}, chart.Series{Name: v.Name + ": one more", Dashed: true}
		for _, n := range commandProfiles() {
			install.Values = append(install.Values, p.command(v.Name, n, 0, cmdInstall).seconds)
			add.Values = append(add.Values, p.command(v.Name, n, 0, cmdAdd).seconds)
		}
		l.Series = append(l.Series, install, add)
	}
	return l.SVG()
}

func (p *page) floodPlot() []byte {
	l := chart.Lines{Title: "The right client in a flood of first knocks", X: "spoofed first knocks a second", Y: "visits that open, percent", Labels: labels(rates())}
	for _, d := range flooded() {
		s := chart.Series{Name: d.name}
		for _, r := range p.Floods {
			if r.Name == d.name && !r.Own && r.Visits > 0 {
				s.Values = append(s.Values, 100*float64(r.Opens)/float64(r.Visits))
			}
		}
		l.Series = append(l.Series, s)
	}
	return l.SVG()
}

// page is all that the performance page shows. A part that was not measured is nil.
type page struct {
	Machine   machine
	Quick     bool
	Packets   []*packetCost
	Signed    []*signedCost
	Loading   []*loadingCost
	Opening   []*openingTime
	Commands  []*commandCost
	Floods    []*floodResult
	Knocks    *knockFlood
	Positions []*positionsResult
	Networks  []badnet.Row
}

// NetworkTable writes how the client fares on bad networks.
func (p *page) NetworkTable() (string, error) {
	profile, err := badnet.Profile()
	if err != nil {
		return "", err
	}
	return badnet.Table(p.Networks, profile), nil
}

//go:embed page.md.tmpl
var pageText string

// write writes performance.md into a folder, and the plots into performance/ in it.
// What was there of an earlier run is replaced.
func (p *page) write(dir string) error {
	t, err := template.New("page").Parse(pageText)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if err := t.Execute(&text, p); err != nil {
		return fmt.Errorf("the page: %w", err)
	}
	plots := filepath.Join(dir, "performance")
	if err := os.RemoveAll(plots); err != nil {
		return err
	}
	if err := os.MkdirAll(plots, 0o755); err != nil {
		return err
	}
	for name, svg := range p.plots() {
		if err := os.WriteFile(filepath.Join(plots, name), svg, 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "performance.md"), text.Bytes(), 0o644)
}

// networks knocks over bad networks with the real client.
func (b *bench) networks() ([]badnet.Row, error) {
	var rows []badnet.Row
	for _, c := range badnet.Cases() {
		row, err := badnet.Measure(b, c, b.rounds(30, 3))
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}
