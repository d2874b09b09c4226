package docs

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// root is the project's folder as seen from here.
const root = "../.."

// block is a fenced part of a Markdown file: what stands behind the fence, as
// "sh server", and the text.
type block struct {
	language, about string
	text            string
}

// blocks returns the fenced parts of a file, in order. A language that is not
// among the known ones fails the test: nobody would look at it.
func blocks(t *testing.T, file string, known ...string) []block {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	all, open := fenced(string(data))
	if open {
		t.Fatalf("%s: a fence is not closed", file)
	}
	for _, b := range all {
		if !slices.Contains(known, b.language) {
			t.Errorf("%s: nothing checks a block of %q, which begins with %q", file, b.language, strings.SplitN(b.text, "\n", 2)[0])
		}
	}
	return all
}

// fenced returns the parts between lines of three backquotes; open reports whether
// the last one has no end.
func fenced(text string) (all []block, open bool) {
	var current *block
	for line := range strings.Lines(text) {
		info, fence := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case fence && current == nil:
			language, about, _ := strings.Cut(info, " ")
			current = &block{language: language, about: about}
		case fence:
			all = append(all, *current)
			current = nil
		case current != nil:
			current.text += line
		}
	}
	return all, current != nil
}

// only returns the blocks of one language.
func only(all []block, language string) []block {
	return slices.DeleteFunc(slices.Clone(all), func(b block) bool { return b.language != language })
}

func TestFencedPartsAreFoundWithWhatTheyAreAbout(t *testing.T) {
	all, open := fenced("a\n```sh server\nx\ny\n```\nb\n```\n```\n  ```text\nz\n")
	want := []block{{"sh", "server", "x\ny\n"}, {"", "", ""}}
	if !slices.Equal(all, want) || !open {
		t.Errorf("%q, open %v; want %q and an open one", all, open, want)
	}
}
