package save

import (
	"fmt"
	"strings"
)

// Args cuts a rule into its arguments, as iptables-restore does: blanks divide, double
// quotes keep together, a backslash inside them takes the next byte as it is. It fails
// where a quote is not closed.
func Args(rule string) ([]string, error) {
	args := make([]string, 0, strings.Count(rule, " ")+1)
	for i := 0; ; {
		for i < len(rule) && isBlank(rule[i]) {
			i++
		}
		if i == len(rule) {
			return args, nil
		}
		arg, n, err := first(rule[i:])
		if err != nil {
			return nil, fmt.Errorf("%w in %q", err, rule)
		}
		args = append(args, arg)
		i += n
	}
}

// first returns the argument that a text begins with, and how many bytes of the text it is.
func first(text string) (arg string, n int, err error) {
	plain := strings.IndexAny(text, " \t\"")
	switch {
	case plain < 0:
		return text, len(text), nil
	case text[plain] != '"':
		return text[:plain], plain, nil
	}
	var b strings.Builder
	quoted := false
	for ; n < len(text) && (quoted || !isBlank(text[n])); n++ {
		switch {
		case quoted && text[n] == '\\' && n+1 < len(text):
			n++
			b.WriteByte(text[n])
		case text[n] == '"':
			quoted = !quoted
		default:
			b.WriteByte(text[n])
		}
	}
	if quoted {
		return "", 0, fmt.Errorf("a quote is not closed")
	}
	return b.String(), n, nil
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }
