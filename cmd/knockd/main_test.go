package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/urfave/cli/v2"

	"knockkit/internal/lab"
)

// The real main runs in scripts: as "knockd", in a process of its own.
func TestMain(m *testing.M) {
	testscript.Main(inLab{m}, map[string]func(){"knockd": main})
}

// inLab runs the tests where hosts can be made: see [lab.Enter].
type inLab struct{ *testing.M }

func (m inLab) Run() int {
	entry, err := lab.Enter(context.Background())
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "lab:", err) // what needs a host skips, or fails in CI
	case !entry.Here:
		return entry.Code
	}
	dir, err := os.MkdirTemp("", "knockd-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	os.Setenv(builtDir, dir)
	// The three backends of a test side by side, on two processors too: most of the time
	// they wait.
	flag.Parse()
	if err := flag.Set("test.parallel", "3"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.M.Run()
}

// builtDir names the folder in which program builds, which goes with the tests.
const builtDir = "KNOCKD_TEST_BUILT"

// program returns the path of the program itself, which anybody may run: it starts
// itself a second time for --try, which a test binary cannot.
func program(t *testing.T) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var build = sync.OnceValues(func() (string, error) {
	dir := os.Getenv(builtDir)
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", err
	}
	path := filepath.Join(dir, "knockd")
	out, err := exec.Command("go", "build", "-buildvcs=false", "-o", dir+"/", ".", "../knockd-fleet").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return path, nil
})

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("GORACE", "atexit_sleep_ms=0") // else each command takes a second under -race
			env.Setenv("KNOCKD_CONFIG", env.WorkDir)
			return nil
		},
	})
}

// TestEveryCommandHasAnExample: help is read by people who want to do something now.
func TestEveryCommandHasAnExample(t *testing.T) {
	var walk func(path string, commands []*cli.Command)
	walk = func(path string, commands []*cli.Command) {
		for _, c := range commands {
			name := path + " " + c.Name
			if c.Hidden {
				continue
			}
			if c.Usage == "" || !strings.Contains(c.Description, "Example:\n  "+name) && !strings.Contains(c.Description, "\n  "+name) {
				t.Errorf("%s has no usage line or no example: %q", name, c.Description)
			}
			walk(name, c.Subcommands)
		}
	}
	app := newApp()
	if !strings.Contains(app.Description, "\n  knockd ") {
		t.Error("knockd has no example")
	}
	walk(app.Name, app.Commands)
}
