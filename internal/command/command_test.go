package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/urfave/cli/v2"

	"knockkit/internal/say"
)

// testApp is shaped like both programs: "acts" at the root as knock does when
// root is set, else a group with global flags as knockd. Every action prints
// what it was given.
func testApp(root bool) (app *cli.App, out, errs *bytes.Buffer) {
	out, errs = new(bytes.Buffer), new(bytes.Buffer)
	action := func(c *cli.Context) error {
		fmt.Fprintf(out, "%s words=%q", c.Command.Name, c.Args().Slice())
		for _, f := range []string{"config", "json", "quiet", "verbose", "jobs", "host"} {
			if c.IsSet(f) {
				value := c.Value(f)
				if f == "host" {
					value = c.StringSlice(f)
				}
				fmt.Fprintf(out, " %s=%v", f, value)
			}
		}
		if rest := Rest(c); rest != nil {
			fmt.Fprintf(out, " rest=%q", rest)
		}
		fmt.Fprintln(out)
		return nil
	}
	config := &cli.StringFlag{Name: "config"}
	json := &cli.BoolFlag{Name: "json"}
	app = &cli.App{
		Name: "prog", Usage: "a program", Version: "1.2", Writer: out, ErrWriter: errs,
		Flags: []cli.Flag{config, &cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}}},
		Commands: []*cli.Command{
			{Name: "list", Aliases: []string{"ls"}, Action: action, Flags: []cli.Flag{json}},
			{Name: "profile", Subcommands: []*cli.Command{
				{Name: "new", Action: action, Usage: "make a profile"},
				{Name: "show", Action: action, Flags: []cli.Flag{json, &cli.IntFlag{Name: "jobs", Aliases: []string{"j"}}}},
			}},
		},
	}
	if root {
		app.Action = action
		app.Metadata = map[string]any{TakesRest: []string{"prog"}, TakesLink: "show"}
		app.Flags = append(app.Flags, &cli.StringSliceFlag{Name: "host"}, &cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}})
	}
	return app, out, errs
}

func TestFlagsReachTheirCommandWhereverTheyStand(t *testing.T) {
	for _, c := range []struct {
		name, line string
		root       bool
		want       string
	}{
		{"after the argument", "profile show a --json", false, `show words=["a"] json=true`},
		{"before the command", "--json profile show a", false, `show words=["a"] json=true`},
		{"between the commands", "profile --json show a", false, `show words=["a"] json=true`},
		{"a global flag after the argument", "profile show a --config d", false, `show words=["a"] config=d`},
		{"a value that looks like a command", "--config list list", false, `list words=[] config=list`},
		{"a value that looks like a flag", "list --config --json", false, `list words=[] config=--json`},
		{"with an equals sign", "list --config=d", false, `list words=[] config=d`},
		{"short with its value attached", "profile show -j4", false, `show words=[] jobs=4`},
		{"short with an equals sign", "profile show -j=4", false, `show words=[] jobs=4`},
		{"short flags in one", "a -qv", true, `prog words=["a"] quiet=true verbose=true`},
		{"short and long of one flag", "a -q --quiet", true, `prog words=["a"] quiet=true`},
		{"repeated, commas kept", "a --host b,c --host d", true, `prog words=["a"] host=[b,c d]`},
		{"one dash before a long name", "list -json", false, `list words=[] json=true`},
		{"false said", "list --json=false", false, `list words=[] json=false`},
		{"a dash is an argument", "profile show - --json", false, `show words=["-"] json=true`},
		{"an alias of a command", "ls --json", false, `list words=[] json=true`},
		{"only the first word is a command", "a list", true, `prog words=["a" "list"]`},
		{"an argument named as its command", "profile new new", false, `new words=["new"]`},
		{"an argument named h", "profile new h", false, `new words=["h"]`},
		{"an argument named as a set flag", "list json --json", false, `list words=["json"] json=true`},
		{"words after two dashes", "a -q -- list --json -v -- x", true,
			`prog words=["a"] quiet=true rest=["list" "--json" "-v" "--" "x"]`},
		{"nothing after two dashes", "a --", true, `prog words=["a"] rest=[]`},
		{"a command is not sought after two dashes", "-- list", true, `prog words=[] rest=["list"]`},
		{"no flags after two dashes", "profile show --json -- -j4 --json", false, `show words=["-j4" "--json"] json=true`},
		{"nor a command after one", "list -- list", true, `list words=["list"]`},
		{"a link for the command that takes one", "profile show knock://mysql/", true, `show words=["knock://mysql/"]`},
		{"a word of links without a secret", "list knock://wiki", true, `list words=["knock://wiki"]`},
		{"a link of another program", "a -- go knock://mysql/", true, `prog words=["a"] rest=["go" "knock://mysql/"]`},
	} {
		t.Run(c.name, func(t *testing.T) {
			app, out, errs := testApp(c.root)
			code := Run(context.Background(), app, append([]string{"prog"}, strings.Fields(c.line)...))
			if code != Done || errs.Len() > 0 {
				t.Fatalf("exit %d, said %q", code, errs)
			}
			if diff := cmp.Diff(c.want+"\n", out.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWrongWordsExitWith2AndAHintThatCanBePasted(t *testing.T) {
	for _, c := range []struct {
		name, line string
		root       bool
		want       string
	}{
		{"unknown flag", "profile show a --jsn", false,
			"prog: error: unknown flag --jsn\nprog: hint: did you mean: prog profile show a --json\n"},
		{"unknown flag with a value", "list --confg=d", false,
			"prog: error: unknown flag --confg\nprog: hint: did you mean: prog list --config=d\n"},
		{"unknown flag, nothing near", "list --zzzzzz", false,
			"prog: error: unknown flag --zzzzzz\nprog: hint: see prog list --help\n"},
		{"only dashes", "list ---", false,
			"prog: error: unknown flag ---\nprog: hint: see prog list --help\n"},
		{"unknown short flag", "a -x", true,
			"prog: error: unknown flag -x\nprog: hint: see prog --help\n"},
		{"a flag of another command", "profile new a --json", false,
			"prog: error: unknown flag --json\nprog: hint: see prog profile new --help\n"},
		{"a flag of a parent that acts itself", "list --host h", true,
			"prog: error: unknown flag --host\nprog: hint: see prog list --help\n"},
		{"unknown command", "profil show a", false,
			"prog: error: unknown command \"profil\"\nprog: hint: did you mean: prog profile show a\n"},
		{"unknown command of a group", "profile shwo a --json", false,
			"prog: error: unknown command \"profile shwo\"\nprog: hint: did you mean: prog profile show a --json\n"},
		{"value missing at the end", "list --config", false,
			"prog: error: flag --config needs a value\nprog: hint: see prog list --help\n"},
		{"value missing before two dashes", "a --host -- cmd", true,
			"prog: error: flag --host needs a value\nprog: hint: see prog --help\n"},
		{"not a number", "profile show -j x", false,
			"prog: error: invalid value \"x\" for flag --jobs: parse error\nprog: hint: see prog profile show --help\n"},
		{"-h in front of an argument", "profile show -h a", false,
			"prog: error: -h asks for help and takes no argument\nprog: hint: see prog profile show --help\n"},
		{"-h where a host can be said", "a -h db1", true,
			"prog: error: -h asks for help and takes no argument\nprog: hint: did you mean: prog a --host db1\n"},
		{"-h in front of two dashes", "a -h -- b", true,
			"prog: error: -h asks for help and takes no argument\nprog: hint: see prog --help\n"},
		{"-h with something attached", "a -hdb1", true,
			"prog: error: unknown flag -hdb1\nprog: hint: see prog --help\n"},
		{"the hint is quoted for a shell", "lst it's", false,
			"prog: error: unknown command \"lst\"\nprog: hint: did you mean: prog list 'it'\\''s'\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			app, out, errs := testApp(c.root)
			code := Run(context.Background(), app, append([]string{"prog"}, strings.Fields(c.line)...))
			if code != Usage || out.Len() > 0 {
				t.Errorf("exit %d, want 2; standard output %q, want none", code, out)
			}
			if diff := cmp.Diff(c.want, errs.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWhatIsEmptyIsNotTakenForNothing(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"a", "", "b"}, "argument 2 is empty"},
		{[]string{"profile", "show", ""}, "argument 3 is empty"},
		{[]string{"profile", "show", "--", "a", ""}, "argument 5 is empty"},
		{[]string{"a", "--config", ""}, "--config is empty"},
		{[]string{"a", "--config="}, "--config is empty"},
		{[]string{"a", "--host", "x", "--host", ""}, "--host is empty"},
	} {
		app, out, errs := testApp(true)
		if code := Run(t.Context(), app, append([]string{"prog"}, c.args...)); code != Usage || out.Len() > 0 || !strings.HasPrefix(errs.String(), "prog: error: "+c.want+"\n") {
			t.Errorf("%q: exit %d, said %q", c.args, code, errs)
		}
	}
	app, out, _ := testApp(true)
	if code := Run(t.Context(), app, []string{"prog", "a", "--", ""}); code != Done || out.String() != "prog words=[\"a\"] rest=[\"\"]\n" {
		t.Errorf("another program's empty argument: exit %d, %q", code, out)
	}
}

// TestALinkIsNotRepeated: errors and hints go to logs, and a link has a secret in it.
func TestALinkIsNotRepeated(t *testing.T) {
	const link = "knock://mysql/host=db1,knock=1111-tcp"
	for line, want := range map[string]string{
		"LINK":                     "an argument is a profile's link",
		"a LINK":                   "an argument is a profile's link",
		"profile new LINK":         "an argument is a profile's link",
		"--zzz LINK":               "an argument is a profile's link",
		"--config=LINK list":       "an argument is a profile's link",
		"profile show --jsno LINK": "hint: did you mean: prog profile show --json LINK",
	} {
		app, out, errs := testApp(true)
		args := strings.Fields(strings.ReplaceAll(line, "LINK", link))
		if code := Run(t.Context(), app, append([]string{"prog"}, args...)); code != Usage || out.Len() > 0 ||
			strings.Contains(errs.String(), "1111") || !strings.Contains(errs.String(), want) {
			t.Errorf("%s: exit %d, said %q", line, code, errs)
		}
	}
}

func TestAWordThatPeopleTypeForACommandLeadsToIt(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"ditch a --json", "unknown command \"ditch\"\nprog: hint: did you mean: prog profile show a --json\nprog: hint: or: prog list a --json\nprog: hint: both end it"},
		{"--config d profile -j4 all x", "unknown command \"profile all\"\nprog: hint: did you mean: prog --config d -j4 list x"},
		{"profile ditch", "unknown command \"profile ditch\"\nprog: hint: see prog profile --help"}, // of another group
		{"dicth", "unknown command \"dicth\"\nprog: hint: did you mean: prog profile show\nprog: hint: or: prog list\nprog: hint: both end it"},
		{"stop", "unknown command \"stop\"\nprog: hint: nothing runs"},
		{"-V", "unknown flag -V\nprog: hint: did you mean: prog --version"},
		{"lis", "unknown command \"lis\"\nprog: hint: did you mean: prog list"},
	} {
		app, out, errs := testApp(false)
		app.Metadata = map[string]any{Synonyms: []Synonym{
			{Typed: "ditch", Right: "profile show, list", Say: "both end it"},
			{Group: "profile", Typed: "every all", Right: "list"},
			{Typed: "stop", Say: "nothing runs"},
			{Typed: "-V", Right: "--version"},
		}}
		code := Run(context.Background(), app, append([]string{"prog"}, strings.Fields(c.line)...))
		if want := "prog: error: " + c.want + "\n"; code != Usage || out.Len() > 0 || errs.String() != want {
			t.Errorf("%s: exit %d, said %q, want %q", c.line, code, errs, want)
		}
	}
}

func TestHelpThatWasAskedForIsDataAndHelpThatWasNotIsAnError(t *testing.T) {
	for _, c := range []struct {
		line, shows string
		code        int
	}{
		{"--help", "a program", Done},
		{"-h", "a program", Done},
		{"help", "a program", Done},
		{"profile new --help", "make a profile", Done},
		{"profile new name -h", "make a profile", Done},
		{"help profile new", "make a profile", Done},
		{"", "a program", Usage},
		{"profile", "prog profile", Usage},
	} {
		t.Run(c.line, func(t *testing.T) {
			app, out, errs := testApp(false)
			code := Run(context.Background(), app, append([]string{"prog"}, strings.Fields(c.line)...))
			shown, silent := out, errs
			if c.code != Done {
				shown, silent = errs, out
			}
			if code != c.code || silent.Len() > 0 || !strings.Contains(shown.String(), c.shows) {
				t.Errorf("exit %d, want %d; shown %q, want %q in it; the other stream %q, want none",
					code, c.code, shown, c.shows, silent)
			}
		})
	}
}

func TestAnActionCanRefuseWithItsHelp(t *testing.T) {
	app, out, errs := testApp(true)
	app.Action = Help
	if code := Run(context.Background(), app, []string{"prog"}); code != Usage || out.Len() > 0 || !strings.Contains(errs.String(), "a program") {
		t.Errorf("exit %d, out %q, errs %q", code, out, errs)
	}
}

func TestAnArgumentThatTheProgramDoesNotTakeEndsTheReading(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"a", "a: [] \n"},
		{"a b -q --help --zzz c -- d", `a: ["b" "-q" "--help" "--zzz" "c" "--" "d"] prog a -- b -q --help --zzz c -- d` + "\n"},
		{"-q a b", `: ["a" "b"] prog -q -- a b` + "\n"},
		{"show a b --json", `a: [] ` + "\n"}, // a command's arguments are its own business
	} {
		app, out, errs := testApp(true)
		app.Metadata = map[string]any{Takes: func(words, flags []string) bool { return len(words) < 2 && !slices.Contains(flags, "quiet") }}
		app.Action = func(c *cli.Context) error {
			words, dashed := Stray(c)
			fmt.Fprintf(out, "%s: %q %s\n", c.Args().First(), words, dashed)
			return nil
		}
		app.Commands = []*cli.Command{{Name: "show", Action: app.Action, Flags: []cli.Flag{&cli.BoolFlag{Name: "json"}}}}
		if code := Run(context.Background(), app, append([]string{"prog"}, strings.Fields(c.line)...)); code != Done || out.String() != c.want {
			t.Errorf("%s: exit %d, %q, want %q; %s", c.line, code, out, c.want, errs)
		}
	}
}

func TestACommandWithoutItsArgumentsSaysWhichAndItsUsage(t *testing.T) {
	for _, c := range []struct {
		name    string
		command cli.Command
		want    string
	}{
		{"what it needs", cli.Command{Name: "go", ArgsUsage: "FROM TO [VIA]"}, "prog: error: prog go needs FROM TO\nprog: hint: usage: prog go FROM TO [VIA]\n"},
		{"in words of its own", cli.Command{Name: "go", UsageText: "prog go WHERE [--fast]"}, "prog: error: prog go needs WHERE\nprog: hint: usage: prog go WHERE [--fast]\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			app, out, errs := testApp(true)
			c.command.Action = NoArgument
			app.Commands = []*cli.Command{&c.command}
			if code := Run(context.Background(), app, []string{"prog", "go"}); code != Usage || out.Len() > 0 || errs.String() != c.want {
				t.Errorf("exit %d, out %q, said %q, want %q", code, out, errs, c.want)
			}
		})
	}
}

func TestVersionIsData(t *testing.T) {
	app, out, _ := testApp(true)
	if code := Run(context.Background(), app, []string{"prog", "--version"}); code != Done || out.String() != "prog 1.2\n" {
		t.Errorf("exit %d, %q", code, out)
	}
}

func TestErrorsDecideTheExitCode(t *testing.T) {
	cause := errors.New("cause")
	for _, c := range []struct {
		name string
		err  error
		code int
		said string
	}{
		{"none", nil, Done, ""},
		{"plain", cause, Failed, "prog: error: cause\n"},
		{"with a code", &Error{Code: NotOpen, Err: cause, Hint: "h"}, NotOpen, "prog: error: cause\nprog: hint: h\n"},
		{"wrapped", fmt.Errorf("while: %w", &Error{Code: Privilege, Err: cause}), Privilege, "prog: error: while: cause\n"},
		{"silent", &Error{Code: 137}, 137, ""},
		{"by Ctrl-C", &InterruptError{syscall.SIGINT}, 130, "prog: error: interrupted\n"},
		{"by SIGTERM, with what it kept from being done", fmt.Errorf("%w before it opened", &InterruptError{syscall.SIGTERM}), 143,
			"prog: error: interrupted by SIGTERM before it opened\n"},
		{"interrupted by nobody knows what", fmt.Errorf("knock: %w", context.Canceled), Failed, "prog: error: interrupted\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var errs bytes.Buffer
			code := Report(&say.Printer{Name: "prog", W: &errs}, c.err)
			if code != c.code || errs.String() != c.said {
				t.Errorf("exit %d, said %q, want %d, %q", code, errs.String(), c.code, c.said)
			}
		})
	}
	if !errors.Is(&Error{Err: cause}, cause) {
		t.Error("an Error hides its cause")
	}
}

func TestATimeIsWrittenAsInAProfileOrInPlainSeconds(t *testing.T) {
	for _, c := range []struct {
		line  string
		d     time.Duration
		words string // "": no error
	}{
		{"wait --for 5", 5 * time.Second, ""},
		{"wait --for 90m", 90 * time.Minute, ""},
		{"wait --for=2d", 48 * time.Hour, ""},
		{"wait --for 0", 0, ""},
		{"wait", 0, ""},
		{"wait --for soon", 0, "prog: error: --for: \"soon\" is not a length of time\nprog: hint: times are written as \"10s\", \"90m\", \"1h\" or \"2d\"\n"},
		{"wait --for 5min", 0, "prog: error: --for: \"5min\" is not a length of time\nprog: hint: did you mean \"5m\"?\n"},
		{"wait --for=-5", 0, "prog: error: --for: a time is not negative\nprog: hint: did you mean \"5\"?\n"},
		{"wait --for 99999999999", 0, "prog: error: --for: \"99999999999\" is not a length of time\nprog: hint: times are written as \"10s\", \"90m\", \"1h\" or \"2d\"\n"},
	} {
		app, _, errs := testApp(false)
		got, ran := time.Duration(-1), false
		app.Commands = append(app.Commands, &cli.Command{Name: "wait", Flags: []cli.Flag{TimeFlag("for", "for `TIME`")}, Action: func(c *cli.Context) error {
			got, ran = TimeOf(c, "for"), true
			return nil
		}})
		code := Run(t.Context(), app, strings.Fields("prog "+c.line))
		if errs.String() != c.words || ran != (c.words == "") || ran && got != c.d || (code == Usage) == ran {
			t.Errorf("%s: exit %d, %s, want %s; it says\n%swant\n%s", c.line, code, got, c.d, errs, c.words)
		}
	}
}
