package docs

import (
	"slices"
	"strings"
	"testing"
)

// Block is a fenced part of a Markdown file: what stands behind the fence, as
// "sh server", and the text.
type Block struct {
	Language, About string
	Text            string
}

// Blocks returns the parts between lines of three backquotes, in order; open reports
// whether the last one has no end.
func Blocks(text string) (all []Block, open bool) {
	var current *Block
	for line := range strings.Lines(text) {
		info, fence := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case fence && current == nil:
			language, about, _ := strings.Cut(info, " ")
			current = &Block{Language: language, About: about}
		case fence:
			all = append(all, *current)
			current = nil
		case current != nil:
			current.Text += line
		}
	}
	return all, current != nil
}

func TestFencedPartsAreFoundWithWhatTheyAreAbout(t *testing.T) {
	all, open := Blocks("a\n```sh server\nx\ny\n```\nb\n```\n```\n  ```text\nz\n")
	want := []Block{{"sh", "server", "x\ny\n"}, {"", "", ""}}
	if !slices.Equal(all, want) || !open {
		t.Errorf("%q, open %v; want %q and an open one", all, open, want)
	}
}
