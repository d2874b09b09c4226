package format

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"knockkit/internal/tomldoc"
	"knockkit/protocol"
)

func TestTheReferenceHasTheKeysThatTheParserAsksFor(t *testing.T) {
	doc := tomldoc.Parse([]byte("signed = {}\nprefix = {}\nopened = {}\nclient = {}\n"), protocol.MaxProfileSize)
	readRaw(doc.Root())
	var has []string
	for _, k := range Keys() {
		has = append(has, k.Name)
	}
	slices.Sort(has)
	if diff := cmp.Diff(slices.Compact(slices.Sorted(slices.Values(doc.Asked()))), has); diff != "" {
		t.Errorf("-parser +reference:\n%s", diff)
	}
}

// withLine returns a small profile with one more line, which may replace another.
func withLine(line string) string {
	lines := []string{`sequence = ["7421/tcp", "3190/tcp"]`, `open = ["22/tcp"]`}
	key, _, _ := strings.Cut(line, " ")
	if key == "signed" {
		key = "sequence"
	}
	lines = slices.DeleteFunc(lines, func(l string) bool { return strings.HasPrefix(l, key+" ") })
	return line + "\n" + strings.Join(lines, "\n") + "\n"
}

func TestTheExamplesOfTheReferenceAreRight(t *testing.T) {
	for _, k := range Keys() {
		_, diagnostics := ParseProfile("example.toml", []byte(withLine(k.Example)))
		if diagnostics.HasErrors() {
			t.Errorf("%s: %v", k.Name, diagnostics)
		}
		key, inner := k.Name, ""
		if table := k.table(); table != "" {
			key, inner = table, strings.TrimPrefix(k.Name, table+".")
		}
		if !strings.HasPrefix(k.Example, key+" = ") || !strings.Contains(k.Example, inner) {
			t.Errorf("%s: the example %q is one of another key", k.Name, k.Example)
		}
	}
}

func TestTheDefaultsOfTheReferenceAreThoseOfTheParser(t *testing.T) {
	plain, _ := ParseProfile("example.toml", []byte(withLine("")))
	for _, k := range Keys() {
		if k.Default == "" {
			continue
		}
		line := k.Name + " = " + k.Default
		if table := k.table(); table != "" {
			line = table + " = { " + strings.TrimPrefix(k.Name, table+".") + " = " + k.Default + " }"
		}
		written, diagnostics := ParseProfile("example.toml", []byte(withLine(line)))
		if diagnostics.HasErrors() {
			t.Errorf("%s: %v", k.Name, diagnostics)
		} else if diff := cmp.Diff(plain, written, cmp.Comparer(func(x, y protocol.Knock) bool { return x == y })); diff != "" {
			t.Errorf("%s: its default %s is not what it is unset:\n%s", k.Name, k.Default, diff)
		}
	}
}

// table returns the key's table, "" for a key of the file itself.
func (k Key) table() string {
	table, _, found := strings.Cut(k.Name, ".")
	if !found {
		return ""
	}
	return table
}
