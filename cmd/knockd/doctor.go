package main

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"knockkit/internal/command"
	"knockkit/internal/say"
	"knockkit/server/doctor"
)

func doctorCommand() *cli.Command {
	return &cli.Command{
		Name:  "doctor",
		Usage: "what on this host keeps gates from doing their work, why, and what to do",
		Description: `It reads the rules of all tools, the kernel's settings and the sockets, and changes nothing.
Exit 1 when something is broken, else 4 when a profile's file may not be read. Run it as root;
it lists what it could not read.

Example:
  knockd doctor
  knockd doctor --json | jq '.[] | select(.severity == "broken")'`,
		Flags:  []cli.Flag{jsonFlag()},
		Action: on(examine),
	}
}

func examine(h *host) error {
	c := h.c
	files, broken, err := h.files()
	if err != nil {
		return err
	}
	found, err := doctor.Examine(c.Context, doctor.Input{Folder: h.folders.Dirs[0], Settings: h.settings, Files: files, Broken: broken})
	if err != nil {
		return err
	}
	for i := range found {
		found[i].Todo = h.withFile(found[i].Todo)
	}
	if c.Bool("json") {
		err = printJSON(c, found)
	} else {
		err = printFindings(c, found)
		h.words.Note("%s", summary(found))
	}
	switch {
	case err != nil:
		return err
	case doctor.Count(found, doctor.Broken) > 0:
		return &command.Error{Code: command.Failed}
	}
	return unread(broken)
}

// printFindings writes a table, with the meaning of a finding below it.
func printFindings(c *cli.Context, found []doctor.Finding) error {
	lines := [][]string{{"SEVERITY", "CHECK", "FOUND"}}
	for _, f := range found {
		lines = append(lines, []string{string(f.Severity), f.ID, f.Found})
		if f.Why != "" {
			lines = append(lines, []string{"", "", "why: " + f.Why})
		}
		if f.Todo != "" {
			lines = append(lines, []string{"", "", "do:  " + pasted(c, f.Todo)})
		}
	}
	return say.Columns(c.App.Writer, lines)
}

// pasted returns a text whose commands can be pasted: with the --config that was typed.
func pasted(c *cli.Context, text string) string {
	if dir := c.String("config"); dir != "" {
		for _, name := range []string{"install", "remove", "profile", "doctor", "key", "run"} {
			text = strings.ReplaceAll(text, "knockd "+name, command.Shell([]string{"knockd", "--config", dir, name}))
		}
	}
	return text
}

// withFile returns a text in which the place of a setting is the file that is in use.
func (h *host) withFile(text string) string {
	return strings.ReplaceAll(text, "in knockd.toml", "in "+h.folders.SettingsFile())
}

// summary counts: "1 broken, 2 warnings, 1 note".
func summary(found []doctor.Finding) string {
	var parts []string
	for _, s := range []struct {
		severity  doctor.Severity
		one, more string
	}{{doctor.Broken, "broken", "broken"}, {doctor.Warning, "warning", "warnings"}, {doctor.Note, "note", "notes"}} {
		switch n := doctor.Count(found, s.severity); {
		case n == 1:
			parts = append(parts, "1 "+s.one)
		case n > 1:
			parts = append(parts, fmt.Sprintf("%d %s", n, s.more))
		}
	}
	if len(parts) == 0 {
		return "all is well"
	}
	return strings.Join(parts, ", ")
}
