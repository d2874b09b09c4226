package docs

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the generated documents, and the generated parts of others")

// root is the project's folder as seen from here.
const root = "../.."

// blocks returns the fenced parts of a file, in order. A language that is not
// among the known ones fails the test: nobody would look at it.
func blocks(t *testing.T, file string, known ...string) []Block {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		t.Fatal(err)
	}
	all, open := Blocks(string(data))
	if open {
		t.Fatalf("%s: a fence is not closed", file)
	}
	for _, b := range all {
		if !slices.Contains(known, b.Language) {
			t.Errorf("%s: nothing checks a block of %q, which begins with %q", file, b.Language, strings.SplitN(b.Text, "\n", 2)[0])
		}
	}
	return all
}

// only returns the blocks of one language.
func only(all []Block, language string) []Block {
	return slices.DeleteFunc(slices.Clone(all), func(b Block) bool { return b.Language != language })
}
