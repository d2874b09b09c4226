package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"knockkit/internal/command"
)

// TestNoCommandTakesAnArgumentThatItsUsageDoesNotName asks each command that names how many it takes.
func TestNoCommandTakesAnArgumentThatItsUsageDoesNotName(t *testing.T) {
	t.Setenv("KNOCKD_CONFIG", t.TempDir())
	asked := 0
	var ask func(path []string, commands []*cli.Command)
	ask = func(path []string, commands []*cli.Command) {
		for _, c := range commands {
			line := append(path[:len(path):len(path)], c.Name)
			ask(line, c.Subcommands)
			if c.Action == nil || strings.Contains(c.ArgsUsage, "...") {
				continue
			}
			asked++
			for range strings.Fields(c.ArgsUsage) {
				line = append(line, "mysql")
			}
			if c.Name == "completion" { // which has a UsageText
				line = append(line, "bash")
			}
			app, out, errs := newApp(), new(bytes.Buffer), new(bytes.Buffer)
			app.Writer, app.ErrWriter, app.Reader = out, errs, new(bytes.Buffer)
			code := command.Run(t.Context(), app, append(line, "surplus"))
			if want := "knockd: error: surplus is one argument too many\nknockd: hint: "; code != command.Usage || out.Len() > 0 || !strings.HasPrefix(errs.String(), want) {
				t.Errorf("%q: exit %d, out %q, says %q", append(line, "surplus"), code, out, errs)
			}
		}
	}
	ask([]string{"knockd"}, newApp().Commands)
	if asked < 15 {
		t.Errorf("only %d commands were asked", asked)
	}
}

func TestEveryFlagThatTakesATimeSaysWhatABareNumberIs(t *testing.T) {
	found := 0
	var read func(commands []*cli.Command)
	read = func(commands []*cli.Command) {
		for _, c := range commands {
			read(c.Subcommands)
			for _, f := range c.Flags {
				if text := f.String(); strings.Contains(text, " TIME") {
					found++
					if !strings.Contains(text, "a bare number is seconds") {
						t.Errorf("%s: %s", c.Name, text)
					}
				}
			}
		}
	}
	read(newApp().Commands)
	if found < 4 {
		t.Errorf("only %d flags take a time", found)
	}
}
