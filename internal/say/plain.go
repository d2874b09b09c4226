package say

import (
	"fmt"
	"io"
	"strings"
	"unicode"
)

// Plain makes text fit for one line of a terminal, a log or a table, whoever wrote it,
// character by character: its columns stay the same. White space becomes a space;
// control characters, invalid UTF-8 and invisible characters (such as those that
// reverse the direction of text) become "�".
func Plain(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t', r == '\n', unicode.Is(unicode.Zs, r):
			return ' '
		case !unicode.IsPrint(r):
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

// plainLines is [Plain] for text of several lines, which keep their tabs.
func plainLines(text string) string {
	var b strings.Builder
	for i, r := range text {
		switch {
		case r == '\n', r == '\t':
			b.WriteRune(r)
		case r == '\r' && strings.HasPrefix(text[i:], "\r\n"): // a Windows line end is one
		default:
			b.WriteString(Plain(string(r)))
		}
	}
	return b.String()
}

// Painted is text of ours, perhaps with colours. Text of others in it has been made plain.
type Painted string

// Text formats words of ours. Each of the args becomes plain, unless it is painted.
func Text(format string, args ...any) Painted {
	if false {
		_ = fmt.Sprintf(format, args...) // lets go vet check the callers' formats
	}
	plain := make([]any, len(args))
	for i, a := range args {
		switch a.(type) {
		case Painted, int: // an int may be the width that a "*" asks for
			plain[i] = a
		default:
			plain[i] = foreign{a}
		}
	}
	return Painted(fmt.Sprintf(format, plain...))
}

// foreign is a value that is formatted as usual, and then made plain.
type foreign struct{ value any }

// Format implements fmt.Formatter.
func (f foreign) Format(s fmt.State, verb rune) {
	io.WriteString(s, Plain(fmt.Sprintf(fmt.FormatString(s, verb), f.value)))
}
