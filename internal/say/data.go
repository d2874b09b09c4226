package say

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"
	"unicode/utf16"

	"golang.org/x/term"
)

// Print writes one line of data, formatted as by [Text].
func Print(w io.Writer, format string, args ...any) error {
	return write(w, string(Text(format, args...))+"\n")
}

// Data writes a text that belongs to somebody, as a file's. A pipe gets every byte of
// it, as others read it there; a terminal gets what cannot drive it, as from ls.
func Data(w io.Writer, text string) error {
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		text = plainLines(text)
	}
	return write(w, text)
}

// JSON writes a value and a line end. What a terminal might act on, or not show, is
// escaped, which the JSON package does for some of it only.
func JSON(w io.Writer, indent string, value any) error {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetIndent("", indent)
	if err := e.Encode(value); err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	return write(w, Escaped(b.String(), func(r rune) bool { return r == '\n' || unicode.IsPrint(r) }))
}

// Escaped writes all but the plain characters of JSON as \u escapes. In JSON there are
// none outside of strings.
func Escaped(text string, plain func(rune) bool) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case plain(r):
			b.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

func write(w io.Writer, text string) error {
	if _, err := io.WriteString(w, text); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}
