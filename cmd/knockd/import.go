package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"knockkit/internal/classic"
	"knockkit/internal/command"
	"knockkit/internal/files"
	"knockkit/internal/say"
	"knockkit/protocol"
	"knockkit/protocol/format"
)

func importCommand() *cli.Command {
	return &cli.Command{
		Name:      "import",
		Usage:     "make profiles of another knock daemon's configuration: knockd.conf, OpenWrt's knockd, csf.conf",
		ArgsUsage: "FILE",
		Description: `Reports each line that works differently, and makes no profile when it is not sure.
It never replaces a profile. The exit code is 1 when a section was skipped. FILE may
be - for standard input. A running service installs the profiles at once.

Example:
  knockd import /etc/knockd.conf --dry-run
  knockd import /etc/knockd.conf
  ssh db1 cat /etc/knockd.conf | knockd import - --dry-run`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "dry-run", Usage: "print the profiles instead of writing them"},
			jsonFlag(), allowLockoutFlag(),
		},
		Action: onOne(importProfiles),
	}
}

func importProfiles(h *host, file string) error {
	im, err := readClassic(h.c.Context, file)
	if err != nil {
		return err
	}
	if err := h.fits(im); err != nil {
		return err
	}
	dry := h.c.Bool("dry-run")
	var k *keeper
	var changed time.Time
	if !dry {
		var made []*protocol.Profile
		for _, p := range im.Profiles {
			made = append(made, p.Parsed)
		}
		if k, err = h.keeper(made...); err != nil {
			return err
		}
		if err := h.writeAll(im); err != nil {
			return err
		}
		changed = time.Now()
	}
	var written []string
	for _, p := range im.Profiles {
		if !dry {
			written = append(written, h.newFile(p.Name))
		}
	}
	if h.c.Bool("json") {
		err = h.printed(func() error { return printJSON(h.c, h.importLine(im, dry)) }, written...)
	} else {
		err = h.sayImport(im, written, k)
	}
	if k != nil {
		for _, p := range im.Profiles {
			err = errors.Join(err, h.takenUp(k, changed, p.Name, p.Parsed))
		}
	}
	if err != nil {
		return err
	}
	if n := len(im.Left); n > 0 {
		return &command.Error{Code: command.Failed, Err: fmt.Errorf("%d of %d sections were left, for the reasons given: %s", n, n+len(im.Profiles), titles(im.Left)),
			Hint: "let the classic daemon keep them, or change them as the hints say and import again"}
	}
	return nil
}

func titles(sections []classic.Section) string {
	var all []string
	for _, s := range sections {
		all = append(all, fmt.Sprintf("[%s]", s.Title))
	}
	return strings.Join(all, " ")
}

func readClassic(ctx context.Context, file string) (*classic.Import, error) {
	text, err := files.Input(ctx, file, classic.MaxSize)
	if errors.Is(err, fs.ErrPermission) {
		return nil, &command.Error{Code: command.Privilege, Err: err, Hint: "run it as root: " + command.Shell([]string{"sudo", "knockd", "import", file})}
	}
	if err != nil {
		return nil, usage(err)
	}
	if file == "-" {
		file = "standard input"
	}
	im, err := classic.Read(file, text)
	if err != nil {
		return nil, &command.Error{Code: command.Usage, Err: fmt.Errorf("%s cannot be imported; nothing was written", file), Detail: err.Error()}
	}
	return im, nil
}

// fits refuses an import that would replace a profile, or that cannot be installed
// beside the profiles that are there.
func (h *host) fits(im *classic.Import) error {
	all, err := h.enabled()
	if err != nil {
		return err
	}
	entries, err := h.folders.List()
	if err != nil {
		return usage(err)
	}
	there := map[string]string{}
	for _, e := range entries {
		there[e.Name] = e.File
	}
	for _, p := range im.Profiles {
		if file, taken := there[p.Name]; taken {
			return command.Usagef("remove it first: knockd profile remove "+p.Name, "[%s] would be %s, which is there already; nothing was written", p.Title, file)
		}
		all = append(all, p.Parsed)
	}
	if problems := protocol.Check(all); len(problems) > 0 {
		return command.Usagef("change one of the two; --config DIR imports into another folder", "%w; nothing was written", errors.Join(problems...))
	}
	return nil
}

// writeAll writes all profiles or, when one cannot be written, none.
func (h *host) writeAll(im *classic.Import) error {
	for i, p := range im.Profiles {
		err := h.write(p.Name, []byte(p.Text), false)
		if err == nil {
			continue
		}
		for _, before := range im.Profiles[:i] {
			err = errors.Join(err, os.Remove(h.newFile(before.Name)))
		}
		return err
	}
	return nil
}

// newFile is where write makes the profile's file.
func (h *host) newFile(name string) string {
	return h.folders.NewFile(name)
}

// sayImport prints the files that were written, or in a dry run the text of all, and each line that
// works differently.
func (h *host) sayImport(im *classic.Import, written []string, k *keeper) error {
	said := map[format.Diagnostic]bool{}
	for _, n := range im.Remarks {
		if !said[n.Diagnostic] {
			h.words.Block(n.Diagnostic.String())
		}
		said[n.Diagnostic] = true
	}
	if len(written) == 0 {
		texts := make([]string, len(im.Profiles))
		for i, p := range im.Profiles {
			texts[i] = p.Text
		}
		return say.Data(h.c.App.Writer, strings.Join(texts, "\n"))
	}
	err := h.printed(func() error { return say.Data(h.c.App.Writer, strings.Join(written, "\n")+"\n") }, written...)
	names := make([]string, len(im.Profiles))
	for i, p := range im.Profiles {
		names[i] = p.Name
	}
	h.words.Note("look at them: knockd profile check %s", strings.Join(names, " "))
	if k == nil {
		h.words.Note("then try them: knockd install %s --try 30s", strings.Join(names, " "))
	}
	return err
}

// importLine is an import in `import --json`.
type importLine struct {
	Written  bool          `json:"written"`
	Profiles []madeLine    `json:"profiles"`
	Left     []sectionLine `json:"left"`
	Notes    []noteLine    `json:"notes"`
}

type sectionLine struct {
	Section string `json:"section"`
	Line    int    `json:"line"`
}

type madeLine struct {
	Name string `json:"name"`
	File string `json:"file"`
	sectionLine
	Text string `json:"text"`
}

type noteLine struct {
	Severity string `json:"severity"` // error: the section was left; warning: not as it was
	Line     int    `json:"line"`
	Section  string `json:"section,omitempty"`
	Profile  string `json:"profile,omitempty"`
	Message  string `json:"message"`
	Hint     string `json:"hint,omitempty"`
}

func (h *host) importLine(im *classic.Import, dry bool) importLine {
	l := importLine{Written: !dry, Profiles: []madeLine{}, Left: []sectionLine{}, Notes: []noteLine{}}
	for _, p := range im.Profiles {
		l.Profiles = append(l.Profiles, madeLine{p.Name, h.newFile(p.Name), sectionLine{p.Title, p.Line}, p.Text})
	}
	for _, s := range im.Left {
		l.Left = append(l.Left, sectionLine{s.Title, s.Line})
	}
	for _, n := range im.Remarks {
		l.Notes = append(l.Notes, noteLine{n.Severity.String(), n.Line, n.Section, n.Profile, n.Message, n.Hint})
	}
	return l
}
