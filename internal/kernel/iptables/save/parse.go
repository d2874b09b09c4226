package save

import (
	"fmt"
	"strings"
)

// Table is one table of the kernel's, such as "filter".
type Table struct {
	Name   string
	Chains []*Chain // in the order of the text
}

// Chain is a chain and its rules, each as the text behind "-A NAME ".
type Chain struct {
	Name   string
	Policy string // "ACCEPT", "DROP"; "-" of a chain that is not the kernel's own
	Rules  []string
}

// Chain returns the chain of that name, or nil.
func (t Table) Chain(name string) *Chain {
	for _, c := range t.Chains {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// Parse reads the output of iptables-save, or of ip6tables-save, without counters. It
// fails on a chain or a rule outside a table, and on a rule of a chain that was not declared.
func Parse(text string) ([]Table, error) {
	var tables []Table
	var chains map[string]*Chain // of the table that is being read
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "*"):
			tables, chains = append(tables, Table{Name: line[1:]}), map[string]*Chain{}
		case strings.HasPrefix(line, ":"):
			fields := strings.Fields(line[1:])
			if len(fields) < 2 || chains == nil {
				return nil, fmt.Errorf("%q is no chain of a table", line)
			}
			c := &Chain{Name: fields[0], Policy: fields[1]}
			at := &tables[len(tables)-1]
			at.Chains, chains[c.Name] = append(at.Chains, c), c
		case strings.HasPrefix(line, "-A "):
			name, rule, _ := strings.Cut(line[len("-A "):], " ")
			c := chains[name]
			if c == nil {
				return nil, fmt.Errorf("%q is a rule of no chain", line)
			}
			c.Rules = append(c.Rules, rule)
		}
	}
	return tables, nil
}

// Rules reads the rules of a chain in the output of `iptables -S CHAIN`.
func Rules(text string) []string {
	var rules []string
	for line := range strings.Lines(text) {
		if line, ok := strings.CutPrefix(line, "-A "); ok {
			_, rule, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
			rules = append(rules, rule)
		}
	}
	return rules
}

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
		case quoted && text[n] == '"': // the end of a quotation is the end of the argument
			return b.String(), n + 1, nil
		case text[n] == '"':
			quoted = true
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
