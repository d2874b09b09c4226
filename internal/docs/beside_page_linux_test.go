package docs

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const page = "../../docs/coexistence.md"

func pageText(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// block returns the page's one block with this language and name.
func block(t *testing.T, language, about string) string {
	t.Helper()
	var found []string
	all, open := Blocks(pageText(t))
	for _, b := range all {
		if b.Language == language && b.About == about {
			found = append(found, b.Text)
		}
	}
	if len(found) != 1 || open {
		t.Fatalf("the page has %d blocks %q %q, want one (a fence without an end: %v)", len(found), language, about, open)
	}
	return addresses.Replace(found[0])
}

// table returns the rows of the page's table whose first column has this title.
func table(t *testing.T, title string) string {
	t.Helper()
	_, text, _ := strings.Cut(pageText(t), "\n| "+title+" |")
	var rows []string
	for i, line := range strings.Split(text, "\n") {
		if i > 1 && !strings.HasPrefix(line, "|") {
			break
		}
		if i > 1 { // behind the rest of the head, and the line of dashes
			rows = append(rows, line)
		}
	}
	return strings.Join(rows, "\n")
}

// types types the commands of a block of the page.
func (m *machine) types(name string) string {
	m.t.Helper()
	return m.sh(block(m.t, "sh", name))
}

// has makes a file of the machine what the page shows.
func (m *machine) has(language, file string) {
	m.t.Helper()
	m.write(file, block(m.t, language, file))
}

// TestEveryBlockOfThePageIsUsed looks for each block's name in the tests: block fails
// where one of theirs is not on the page.
func TestEveryBlockOfThePageIsUsed(t *testing.T) {
	files, err := filepath.Glob("*_linux_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var source strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		source.Write(text)
	}
	all, open := Blocks(pageText(t))
	if len(all) < 8 || open {
		t.Errorf("the page has %d blocks, the last of them without an end: %v", len(all), open)
	}
	for _, b := range all {
		if b.About == "" || !strings.Contains(source.String(), strconv.Quote(b.About)) {
			t.Errorf("no test uses the block %q %q", b.Language, b.About)
		}
	}
}
