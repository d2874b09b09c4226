package fence

import (
	"slices"
	"testing"
)

func TestFencedPartsAreFoundWithWhatTheyAreAbout(t *testing.T) {
	all, open := Blocks("a\n```sh server\nx\ny\n```\nb\n```\n```\n  ```text\nz\n")
	want := []Block{{"sh", "server", "x\ny\n"}, {"", "", ""}}
	if !slices.Equal(all, want) || !open {
		t.Errorf("%q, open %v; want %q and an open one", all, open, want)
	}
}
