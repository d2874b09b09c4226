//go:build linux

package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"text/template"

	"knockkit/bench/badnet"
)

// page is all that the performance page shows. A part that was not measured is nil.
type page struct {
	Machine   machine
	Quick     bool
	Packets   []*packetCost
	Opening   []*openingTime
	Commands  []*commandCost
	Floods    []*floodResult
	Positions []*heldResult
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
