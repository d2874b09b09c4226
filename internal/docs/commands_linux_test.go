package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const commandsPage = root + "/docs/commands.md"

// introduction is what docs/commands.md says before the programs speak.
const introduction = `# Commands

Written by the programs themselves, as their manual pages are (` + "`man knockd`, `man knock`" + `; see
[packages.md](packages.md)): edit the definitions below ` + "`cmd/`" + `, then
` + "`go test ./internal/docs -run PageOfCommands -update`" + `. [knockd](#knockd) is for the server, [knock](#knock) for the client.

Flags may stand anywhere before ` + "`--`" + `; ` + "`--help`" + ` shows the same after every command. A flag of the program itself, as
` + "`--config`" + `, goes with each of its commands, except where the program does something without a command, as ` + "`knock`" + `.

`

// programs builds both programs and returns the folder they are in.
func programs(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", dir, "./cmd/knockd", "./cmd/knock")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir
}

func TestThePageOfCommands(t *testing.T) {
	dir := programs(t)
	t.Run("is what the programs say", func(t *testing.T) { isWhatTheProgramsSay(t, dir) })
	t.Run("has examples that are understood", func(t *testing.T) { examplesAreUnderstood(t, dir) })
}

func isWhatTheProgramsSay(t *testing.T, dir string) {
	want := introduction
	for _, name := range []string{"knockd", "knock"} {
		chapter, err := exec.CommandContext(t.Context(), filepath.Join(dir, name), "__reference", "markdown").Output()
		if err != nil {
			t.Fatal(err)
		}
		want += string(chapter)
	}
	want = strings.TrimRight(want, "\n") + "\n"
	if *update {
		if err := os.WriteFile(commandsPage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(want, read(t, commandsPage)); diff != "" {
		t.Errorf("docs/commands.md is not what the programs say (-) but (+)\n%s\nwrite it anew: go test ./internal/docs -run PageOfCommands -update", diff)
	}
}

// remark is where the words of an example end: a comment, what a shell does with
// the output, or an explanation in a second column.
var remark = regexp.MustCompile(` #| [>|] |  `)

// examplesAreUnderstood has each program take the example apart, and print help for
// it: nothing is done, but a flag or a command that does not exist is an error.
func examplesAreUnderstood(t *testing.T, dir string) {
	tried := map[string]int{}
	for _, b := range only(blocks(t, "docs/commands.md", "sh", "text"), "sh") {
		for line := range strings.Lines(b.Text) {
			line = strings.TrimSpace(line)
			words := strings.Fields(remark.Split(line, 2)[0])
			if len(words) == 0 || words[0] != "knockd" && words[0] != "knock" {
				continue // a line for another program
			}
			tried[words[0]]++
			out, err := exec.CommandContext(t.Context(), filepath.Join(dir, words[0]), append([]string{"--help"}, words[1:]...)...).CombinedOutput()
			if err != nil {
				t.Errorf("%s\nis an example, but: %v\n%s", line, err, out)
			}
		}
	}
	if tried["knockd"] < 25 || tried["knock"] < 10 {
		t.Errorf("only these many examples were found: %v", tried)
	}
}
