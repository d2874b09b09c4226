package docs

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/urfave/cli/v2"
)

func testApp() *cli.App {
	act := func(*cli.Context) error { return nil }
	return &cli.App{
		Name: "gate", Usage: "a gate", Description: "Prose\nof two lines.\n\n  gate open a\n    indented\n\nMore.\n",
		Flags: []cli.Flag{&cli.BoolFlag{Name: "help"}, &cli.StringFlag{Name: "config", Usage: "from `DIR`"}},
		Commands: []*cli.Command{
			{Name: "door", Usage: "a door | a window", Subcommands: []*cli.Command{{
				Name: "open", Usage: "open it", ArgsUsage: "NAME", Action: act, Description: "Slowly.\n\nExample:\n  gate door open a",
				Flags: []cli.Flag{
					&cli.DurationFlag{Name: "try", Usage: "for `TIME`"},
					&cli.IntFlag{Name: "jobs", Aliases: []string{"j"}, Usage: "at once", Value: 16},
					&cli.StringSliceFlag{Name: "host", Usage: "at `HOST`"},
					&cli.BoolFlag{Name: "secret", Hidden: true},
					&cli.StringFlag{Name: "config", Usage: "from `DIR`"},
				},
			}}},
			{Name: "__guard", Hidden: true, Action: act},
		},
	}
}

func TestAProgramIsReadAsItIsDefined(t *testing.T) {
	want := program{
		entry: entry{Path: "gate", Usage: "a gate", Forms: []string{"gate COMMAND"}, Text: []part{
			{Prose: "Prose\nof two lines."}, {Typed: "gate open a\n  indented\n"}, {Prose: "More."},
		}, Flags: []option{{"--config DIR", "from DIR"}}},
		Commands: []entry{
			{Path: "gate door", Usage: "a door | a window", Forms: []string{"gate door COMMAND"}, Groups: true},
			{
				Path: "gate door open", Usage: "open it", Forms: []string{"gate door open NAME"},
				Text:   []part{{Prose: "Slowly.\n\nExample:"}, {Typed: "gate door open a\n"}},
				Flags:  []option{{"--try TIME", "for TIME"}, {"--jobs value, -j value", "at once (default: 16)"}, {"--host HOST", "at HOST"}},
				Shared: []string{"--config"},
			},
		},
	}
	if diff := cmp.Diff(want, readProgram(testApp()), cmp.AllowUnexported(program{})); diff != "" {
		t.Error(diff)
	}
}

func TestMarkdownKeepsABarInsideOfItsCell(t *testing.T) {
	if text := readProgram(testApp()).markdown(); !strings.Contains(text, "\n| [`gate door`](#gate-door) | a door \\| a window |\n") {
		t.Error(text)
	}
}

func TestAFlagOfTheProgramIsSaidOnce(t *testing.T) {
	text := readProgram(testApp()).markdown()
	if strings.Count(text, "from DIR") != 1 || !strings.Contains(text, "\nFlags as of [gate](#gate): `--config`.\n") {
		t.Error(text)
	}
}

func TestAManualPageHasEveryCommandThatDoesSomething(t *testing.T) {
	page := string(readProgram(testApp()).man("8", "1.2", "knock(1)"))
	for _, want := range []string{".TH \"GATE\" \"8\"", `gate \- a gate`, ".SS gate door open\n", "gate door open a\n", "--try TIME"} {
		if !strings.Contains(strings.ReplaceAll(page, `\-\-`, "--"), want) {
			t.Errorf("%q is not in\n%s", want, page)
		}
	}
	if strings.Contains(page, ".SS gate door\n") {
		t.Error("a group has a chapter that says nothing")
	}
}
