package tomldoc

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"knockkit/internal/say"
)

// mismatch adds the problem that a value has the wrong type.
func (d *Document) mismatch(at Span, want string, found any, hint func(any) string) {
	words := ""
	if hint != nil {
		words = hint(found)
	}
	d.Error(at, fmt.Sprintf("want %s, found %s", want, kind(found)), words)
}

func (d *Document) unknown(t *Table, key, hint string) {
	message := fmt.Sprintf("there is no key %s", Quote(key))
	if t.path != "" {
		message += " in " + t.path
	}
	if hint == "" {
		hint = Meant(key, t.asked)
	}
	if hint == "" && len(t.asked) <= 6 {
		sorted := slices.Sorted(slices.Values(t.asked))
		hint = "the keys here are " + strings.Join(sorted, ", ")
	}
	d.Error(t.node.get(key).keySpan(), message, hint)
}

// Closest returns the word that was most likely meant, or "".
func Closest(word string, among []string) string {
	if len(word) > 64 {
		return "" // nobody mistypes that much, and comparing takes its length squared
	}
	return say.Closest(word, among)
}

// Meant returns `did you mean "…"?` with the closest word, or "".
func Meant(word string, among []string) string {
	if near := Closest(word, among); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return ""
}

// Quote puts a text from a file into a message: quoted, escaped, and cut when
// it is long.
func Quote(text string) string {
	const most = 40
	if short := []rune(text); len(short) > most {
		text = string(short[:most-1]) + "…"
	}
	return fmt.Sprintf("%q", text)
}

// kind names a value's type as people do.
func kind(v any) string {
	switch v.(type) {
	case string:
		return "a string"
	case int64:
		return "an integer"
	case float64:
		return "a float"
	case bool:
		return "a boolean"
	case time.Time:
		return "a date or time"
	case []any:
		return "a list"
	case map[string]any:
		return "a table"
	}
	return fmt.Sprintf("a %T", v)
}

func quoted(v any) string {
	switch v.(type) {
	case int64, bool:
		return fmt.Sprintf("write \"%v\"", v)
	}
	return ""
}

func asKnock(v any) string {
	if n, ok := v.(int64); ok && n > 0 && n <= 65535 {
		return fmt.Sprintf("write \"%d/tcp\" or \"%d/udp\"", n, n)
	}
	return ""
}

func unquotedBool(v any) string {
	text, ok := v.(string)
	if !ok {
		return ""
	}
	return boolHint(text)
}

// boolHint says how TOML writes what somebody meant as a boolean.
func boolHint(word string) string {
	switch strings.ToLower(word) {
	case "true", "yes", "on":
		return "write true, in lower case and without quotes"
	case "false", "no", "off":
		return "write false, in lower case and without quotes"
	}
	return ""
}

func unquotedInt(v any) string {
	if text, ok := v.(string); ok && text != "" && strings.Trim(text, "0123456789") == "" {
		return fmt.Sprintf("write %s, without quotes", text)
	}
	return ""
}

func bracketed(v any) string {
	if text, ok := v.(string); ok {
		return fmt.Sprintf("write [%s]", Quote(text))
	}
	return ""
}

// notText finds what no TOML file may have: another encoding than UTF-8, or
// control characters. The TOML library reports some of it at a wrong place.
func notText(data []byte) (at Span, message, hint string) {
	if bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) {
		return Span{}, "the file is UTF-16 text", "save it as UTF-8"
	}
	if bytes.IndexByte(data, 0) >= 0 {
		return Span{}, "the file is not text: it has NUL bytes", ""
	}
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		at = Span{i, i + size}
		switch {
		case r == utf8.RuneError && size == 1:
			return at, fmt.Sprintf("byte 0x%02x is not UTF-8 text", data[i]), "save the file as UTF-8"
		case r == '\r' && !bytes.HasPrefix(data[i:], []byte("\r\n")):
			return at, "a carriage return (U+000D) without a line feed", "save the file with Unix or Windows line ends"
		case r < ' ' && r != '\t' && r != '\n' && r != '\r', r == 0x7f:
			return at, fmt.Sprintf("control character U+%04X", r), "remove it, or write it as an escape in a \"string\""
		}
		i += size
	}
	return Span{}, "", ""
}
