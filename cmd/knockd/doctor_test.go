package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"knockkit/server/doctor"
)

func TestTheCommandsOfDoctorAreOnTheConfigurationThatWasTyped(t *testing.T) {
	const todo = "put the file back, or knockd remove web (knockd.toml is right)"
	for config, want := range map[string]string{"": todo, "/srv/a $1": "put the file back, or knockd --config '/srv/a $1' remove web (knockd.toml is right)"} {
		var out bytes.Buffer
		app := &cli.App{Name: "knockd", Writer: &out, Flags: []cli.Flag{&cli.StringFlag{Name: "config"}}, Action: func(c *cli.Context) error {
			return printFindings(c, []doctor.Finding{{ID: doctor.IDInstalled, Severity: doctor.Note, Found: "x", Why: "y", Todo: todo}})
		}}
		if err := app.Run([]string{"knockd", "--config", config}); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(out.String(), "do:  "+want) {
			t.Errorf("with --config %q: %s", config, out.String())
		}
	}
}
