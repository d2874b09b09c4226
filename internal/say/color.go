package say

import (
	"strings"
	"unicode"
)

const (
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	cyan   = "\x1b[36m"
	reset  = "\x1b[0m"
)

// Good paints text that reports a success.
func (p *Printer) Good(text string) string { return p.paint(green, text) }

// Bad paints text that reports a failure.
func (p *Printer) Bad(text string) string { return p.paint(red, text) }

func (p *Printer) paint(color, text string) string {
	if !p.Color || text == "" || color == "" {
		return text
	}
	return color + text + reset
}

// Plain replaces the control characters of text, except newline, tab and our
// own colours: words may quote a file or a host name that someone else wrote,
// and that must not be able to drive the reader's terminal.
func Plain(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); {
		if n := ownColor(text[i:]); n > 0 {
			b.WriteString(text[i : i+n])
			i += n
			continue
		}
		r, n := decode(text[i:])
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			r = unicode.ReplacementChar
		}
		b.WriteRune(r)
		i += n
	}
	return b.String()
}

// ownColor returns the length of one of our colour sequences at the start of
// text, 0 if there is none.
func ownColor(text string) int {
	for _, c := range []string{red, green, yellow, cyan, reset} {
		if strings.HasPrefix(text, c) {
			return len(c)
		}
	}
	return 0
}
