package tomldoc

import (
	"fmt"
	"strings"
	"testing"
)

const limit = 64 << 10

// spell writes where every value of a document is, as "path=the text there".
func spell(d *Document) map[string]string {
	all := map[string]string{}
	var walk func(path string, n *node)
	walk = func(path string, n *node) {
		if path != "" {
			all[path] = string(d.data[n.value.Start:n.value.End])
		}
		for key, child := range n.keys {
			walk(strings.TrimPrefix(path+"."+key, "."), child)
		}
		for i, child := range n.items {
			walk(fmt.Sprintf("%s[%d]", path, i), child)
		}
	}
	walk("", d.root.node)
	return all
}

func TestThePlaceOfEveryValueIsFound(t *testing.T) {
	for name, tc := range map[string]struct {
		text string
		want map[string]string
	}{
		"plain keys":         {"a = 1\nb = \"x\" # c\n", map[string]string{"a": "1", "b": `"x"`}},
		"dotted keys":        {"a.b = 1\na . \"c d\" = 2", map[string]string{"a": "a", "a.b": "1", "a.c d": "2"}},
		"quoted keys":        {"'a' = 1\n\"\\u0062\" = 2", map[string]string{"a": "1", "b": "2"}},
		"tables":             {"[a]\nb = 1\n[a.c]\nd = 2", map[string]string{"a": "a", "a.b": "1", "a.c": "c", "a.c.d": "2"}},
		"lists of tables":    {"[[a]]\nb = 1\n[[a]]\nb = 2\n[a.c]\nd = 3", map[string]string{"a": "a", "a[0]": "a", "a[0].b": "1", "a[1]": "a", "a[1].b": "2", "a[1].c": "c", "a[1].c.d": "3"}},
		"inline tables":      {"a = { b = 1, c.d = [2] }", map[string]string{"a": "{ b = 1, c.d = [2] }", "a.b": "1", "a.c": "c", "a.c.d": "[2]", "a.c.d[0]": "2"}},
		"lists over lines":   {"a = [ # ]\n  1, # [\n  [2],\n]\nb = 3", map[string]string{"a": "[ # ]\n  1, # [\n  [2],\n]", "a[0]": "1", "a[1]": "[2]", "a[1][0]": "2", "b": "3"}},
		"strings of a line":  {`a = "x\"]#" # c` + "\nb = 'y\\'\n", map[string]string{"a": `"x\"]#"`, "b": `'y\'`}},
		"strings of lines":   {"a = \"\"\"x\n\\\"\"\" \"\"\"\"\"\nb = '''\n'y''''\nc = 1", map[string]string{"a": "\"\"\"x\n\\\"\"\" \"\"\"\"\"", "b": "'''\n'y''''", "c": "1"}},
		"empty strings":      {"a = \"\"\nb = ''\nc = \"\"\"\"\"\"\nd = 1", map[string]string{"a": `""`, "b": "''", "c": `""""""`, "d": "1"}},
		"dates":              {"a = 2010-08-08 10:00:00Z # c\nb = [2010-08-08 ]", map[string]string{"a": "2010-08-08 10:00:00Z", "b": "[2010-08-08 ]", "b[0]": "2010-08-08"}},
		"Windows line ends":  {"a = 1\r\nb = [\r\n2]\r\n", map[string]string{"a": "1", "b": "[\r\n2]", "b[0]": "2"}},
		"a byte order mark":  {"\ufeffa = 1", map[string]string{"a": "1"}},
		"inline over lines":  {"a = {\n  b = 1, # c\n}\n", map[string]string{"a": "{\n  b = 1, # c\n}", "a.b": "1"}},
		"nothing":            {"# only a comment", map[string]string{}},
		"no line end at all": {"a = true", map[string]string{"a": "true"}},
	} {
		t.Run(name, func(t *testing.T) {
			d := Parse([]byte(tc.text), limit)
			if len(d.Problems()) > 0 {
				t.Fatalf("problems: %v", d.Problems())
			}
			got := spell(d)
			for path, text := range tc.want {
				if got[path] != text {
					t.Errorf("%s is at %q, want %q", path, got[path], text)
				}
			}
			if len(got) != len(tc.want) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// The library accepts some of these without a word and drops one of the values.
func TestAKeyThatIsSetTwiceIsRefused(t *testing.T) {
	for name, text := range map[string]string{
		"a value twice":           "a = 1\na = 2",
		"a table and a value":     "a.b = 1\na = 2",
		"a value and a table":     "a = 1\na.b = 2",
		"a list and a table":      "a = [\"\"]\n'a'.b = 2",
		"a value and a header":    "a = {}\n[a]",
		"a list and a header":     "a = []\n[[a]]",
		"a header twice":          "[a]\n[a]",
		"twice in an inline":      "a = { b = 1, b = 2 }",
		"a key of a closed table": "a = { b = 1 }\na.c = 2",
	} {
		d := Parse([]byte(text), limit)
		if got := fmt.Sprint(d.Problems()); d.Errors() != 1 || !strings.Contains(got, "is set twice") {
			t.Errorf("%s: %v", name, got)
		}
	}
	for name, text := range map[string]string{
		"a table in pieces":          "[a.b]\nc = 1\n[a]\nd = 2",
		"a dotted table in pieces":   "a.b = 1\na.c = 2",
		"the same key of two tables": "[[a]]\nb = 1\n[[a]]\nb = 2\n[a.c]\n[[a]]\n[a.c]",
		"inside of an inline table":  "a = { b.c = 1, b.d = 2 }",
	} {
		if d := Parse([]byte(text), limit); d.Errors() > 0 {
			t.Errorf("%s: %v", name, d.Problems())
		}
	}
}

func TestASpanIsLocatedInItsLine(t *testing.T) {
	d := Parse([]byte("a = 1\r\nß = \"東京\"\n"), limit)
	d.data = []byte("a = 1\r\nß = \"東京\"\n")
	start := strings.Index(string(d.data), "東")
	line, text, from, to := d.Locate(Span{start, start + len("東京")})
	if line != 2 || text != `ß = "東京"` || text[from:to] != "東京" {
		t.Errorf("line %d, %q, bytes %d to %d", line, text, from, to)
	}
	if line, text, from, to := d.Locate(Span{0, len(d.data)}); line != 1 || text[from:to] != "a = 1" {
		t.Errorf("a span of many lines is at line %d, %q", line, text[from:to])
	}
	if line, text, from, to := d.Locate(Span{len(d.data), len(d.data) + 9}); line != 3 || text+text[from:to] != "" {
		t.Errorf("the end of the file is at line %d, %q, bytes %d to %d", line, text, from, to)
	}
}

func TestAPartOfAStringIsFoundWhereItIsWrittenAsItIs(t *testing.T) {
	d := Parse([]byte(`a = "x/y"`+"\n"+`b = "\u0078/y"`), limit)
	if got := d.Inside(Span{4, 9}, "x/y", 2, 3); got != (Span{7, 8}) {
		t.Errorf("plain: %v", got)
	}
	if got := d.Inside(Span{14, 24}, "x/y", 2, 3); got != (Span{14, 24}) {
		t.Errorf("with an escape: %v, want the whole string", got)
	}
}

func TestATableHandsOutTypedValuesAndCollectsProblems(t *testing.T) {
	d := Parse([]byte("text = \"x\"\nnumber = 7\nflag = true\nlist = [\"a\", 1]\n[more]\nkey = 1\n"), limit)
	root := d.Root()
	if f := root.Text("text"); f == nil || f.Value != "x" || f.At != (Span{7, 10}) {
		t.Errorf("text: %+v", f)
	}
	if f := root.Int("number"); f == nil || f.Value != 7 {
		t.Errorf("number: %+v", f)
	}
	if f := root.Bool("flag"); f == nil || !f.Value {
		t.Errorf("flag: %+v", f)
	}
	if f := root.Texts("list"); f == nil || len(f.Value) != 1 || f.Value[0].Value != "a" {
		t.Errorf("list: %+v", f)
	}
	if root.Text("unset") != nil || root.Has("unset") || !root.Has("flag") {
		t.Error("unset keys are not nil")
	}
	more := root.Table("more")
	more.Unknown(func(string) string { return "" })
	root.Unknown(func(string) string { return "" })
	var got []string
	for _, p := range d.Problems() {
		line, _, _, _ := d.Locate(p.At)
		got = append(got, fmt.Sprintf("%d: %s; %s", line, p.Message, p.Hint))
	}
	want := "[4: want a string, found an integer; write \"1\" 6: there is no key \"key\" in more; the keys here are ]"
	if fmt.Sprint(got) != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestValuesWithoutPlacesAreReadTheSame(t *testing.T) {
	d := FromValues(map[string]any{"a": []any{"x", map[string]any{"b": int64(1)}}, "c": nil})
	items := d.Root().Items("a")
	if items == nil || len(items.Value) != 2 || items.Value[1].Table.Int("b").Value != 1 {
		t.Fatalf("items: %+v", items)
	}
	if d.Root().Text("c") != nil || d.Errors() != 1 {
		t.Errorf("problems: %v", d.Problems())
	}
}

// TestAFileThatWasCutOffIsSaidToBe at each byte, unless what is left is a file of its own.
func TestAFileThatWasCutOffIsSaidToBe(t *testing.T) {
	const text = "host = \"a\"\nports = [\"1/tcp\", { knock = \"2/tcp\", within = \"5s\" },\n# c\n'3/udp']\nonce = true\n" +
		"cut = false\nprefix = { ipv4 = 24, ipv6 = 64 }\nlong = '''\nx'''\n[client]\ngap = \"10ms\"\n[[a.b]]\n"
	said := map[string]int{}
	for end := range len(text) {
		d := Parse([]byte(text[:end]), limit)
		if len(d.Problems()) == 0 {
			said["whole"]++
			continue
		}
		p := d.Problems()[0]
		inside, ok := strings.CutPrefix(p.Message, "the file ends inside ")
		line, _, _, _ := d.Locate(p.At)
		if last := 1 + strings.Count(strings.TrimSpace(text[:end]), "\n"); !ok || !strings.HasPrefix(p.Hint, "it seems to be cut off: copy it again") || line != last {
			t.Errorf("%q: in line %d, %+v", text[:end], line, p)
		}
		said[inside]++
	}
	for _, inside := range []string{"a line", "a list", "a table", "a string", "the name of a table"} {
		if said[inside] < 3 {
			t.Errorf("%s is said %d times", inside, said[inside])
		}
	}
	if said["whole"] > 60 {
		t.Errorf("%d of %d pieces are whole", said["whole"], len(text))
	}
	for _, whole := range []string{"a = t\nb = 1\n", "a = [1 2]\n", "a = \"x\nb = 1\n", "[a\nb = 1\n", "a =\nb = 1\n", "a = 1 t", "a = fals x"} {
		if d := Parse([]byte(whole), limit); len(d.Problems()) != 1 || strings.Contains(d.Problems()[0].Message, "ends inside") {
			t.Errorf("%q: %+v", whole, d.Problems())
		}
	}
}
