package format

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"
	"unicode"

	"pgregory.net/rapid"

	"knockkit/internal/say"
	"knockkit/protocol"
)

func TestDiagnosticsAreAnErrorOnlyWhenOneOfThemIs(t *testing.T) {
	warning := Diagnostic{Severity: SeverityWarning, File: "a.toml", Message: "w"}
	failure := Diagnostic{Severity: SeverityError, File: "a.toml", Message: "e", Hint: "h"}
	if err := (Diagnostics{warning}).Err(); err != nil {
		t.Errorf("a warning alone is the error %v", err)
	}
	err := Diagnostics{warning, failure}.Err()
	var ds Diagnostics
	if !errors.As(err, &ds) || len(ds) != 1 || ds[0].Message != "e" {
		t.Errorf("got %v", err)
	}
	if want := "a.toml: error: e\n  hint: h"; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
}

func TestAWriterThatFailsIsReported(t *testing.T) {
	_, w := io.Pipe()
	w.Close()
	if err := (Diagnostics{{Message: "m"}}).Write(w); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("got %v", err)
	}
}

// Whatever a line holds, the caret stands below the complaint and nothing
// reaches the terminal that it could obey.
func TestTheCaretStandsBelowTheComplaintInAnyLine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := say.Plain(rapid.StringOfN(rapid.RuneFrom([]rune("a=\"\t\x1b\x07é東\u0301\u202e\u200b\ufffd")), 0, 300, -1).Draw(t, "text"))
		column := rapid.IntRange(1, len([]rune(text))+1).Draw(t, "column")
		d := Diagnostic{File: "a.toml", Line: 1, Column: column, Width: rapid.IntRange(1, 400).Draw(t, "width"), Text: text, Message: "m"}
		lines := strings.Split(d.String(), "\n")
		if len(lines) != 3 || strings.ContainsFunc(lines[1], func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Fatalf("not three plain lines: %q", lines)
		}
		shown, caret := []rune(strings.TrimPrefix(lines[1], "  1 | ")), strings.TrimPrefix(lines[2], "    | ")
		if len(shown) > maxLineColumns+2 {
			t.Fatalf("%d characters are shown", len(shown))
		}
		// The shown text before the caret is as wide as the space before it, and
		// it ends where the complaint begins.
		before := strings.TrimRight(caret, "^")
		ends := func(n int) bool {
			return say.Width(string(shown[:n])) == len(before) && strings.HasSuffix(string([]rune(text)[:column-1]), strings.TrimPrefix(string(shown[:n]), "…"))
		}
		for n := range len(shown) + 1 {
			if ends(n) {
				return
			}
		}
		t.Fatalf("nothing of the line ends at the caret:\n%s", d)
	})
}

func TestAFileOfAnyKindIsAnsweredAtOnce(t *testing.T) {
	for name, data := range map[string]string{
		"several megabytes":      strings.Repeat("sequence = [\"icmp\"]\n", 250_000),
		"one byte too many":      strings.Repeat("#", protocol.MaxProfileSize+1),
		"a deep dotted key":      strings.Repeat("a.", 32_000) + "a = 1",
		"a deep table":           "[" + strings.Repeat("a.", 32_000) + "a]",
		"deep lists":             "a = " + strings.Repeat("[", 65_000),
		"deep inline tables":     "a = " + strings.Repeat("{a=", 15_000) + "1" + strings.Repeat("}", 15_000),
		"many unknown keys":      manyKeys(7_000),
		"many unknown services":  "open = [" + strings.Repeat("\"a/tcp\",", 8_000) + "]",
		"many prefixes":          "from = [" + strings.Repeat("\"10.0.0.0/8\",", 5_000) + "]",
		"one long line of junk":  "sequence = [" + strings.Repeat("7,", 32_000) + "]",
		"lines of tables":        strings.Repeat("[[a]]\n", 10_000),
		"a service full of dash": "open = [\"" + strings.Repeat("a-", 32_000) + "/tcp\"]",
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			_, ds := ParseProfile("mysql.toml", []byte(data))
			text := ds.Error()
			if !ds.HasErrors() || len(ds) > maxDiagnostics+1 || len(text) > 100_000 {
				t.Errorf("%d diagnostics in %d bytes", len(ds), len(text))
			}
			// Under the race detector on a busy machine; without it, a few milliseconds.
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

func manyKeys(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString("k")
		for ; i > 0; i /= 26 {
			b.WriteByte('a' + byte(i%26))
		}
		b.WriteString("=1\n")
	}
	return b.String()
}

func TestUTF16IsNamed(t *testing.T) {
	_, ds := ParseProfile("mysql.toml", []byte("\xff\xfes\x00e\x00"))
	if want := "mysql.toml: error: the file is UTF-16 text\n  hint: save it as UTF-8"; ds.Error() != want {
		t.Errorf("got %q, want %q", ds.Error(), want)
	}
}

func TestAPlaceIsCountedInCharacters(t *testing.T) {
	text := `ß = "東京"`
	from := strings.Index(text, "東")
	d := Diagnostic{}.At(2, text, from, from+len("東京"))
	if d.Line != 2 || d.Column != 6 || d.Width != 2 || d.Text != text {
		t.Errorf("%+v", d)
	}
	if d := (Diagnostic{}).At(3, "", 0, 0); d.Column != 1 || d.Width != 1 {
		t.Errorf("the end of the file is at column %d, %d wide", d.Column, d.Width)
	}
}
