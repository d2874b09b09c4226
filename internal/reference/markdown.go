package reference

import (
	"fmt"
	"strings"
)

// Markdown returns a chapter: a list of the commands, and a heading for each. Lines
// to type are blocks of "sh example".
func (p Program) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "## %s\n\n", p.Path)
	p.Entry.markdown(&b)
	b.WriteString("| command | |\n|---|---|\n")
	for _, c := range p.Commands {
		fmt.Fprintf(&b, "| [`%s`](#%s) | %s |\n", c.Path, strings.ReplaceAll(c.Path, " ", "-"), cell(c.Usage))
	}
	b.WriteByte('\n')
	for _, c := range p.Commands {
		fmt.Fprintf(&b, "### %s\n\n", c.Path)
		c.markdown(&b)
	}
	return b.String()
}

func (e Entry) markdown(b *strings.Builder) {
	fmt.Fprintf(b, "%s.\n\n```text\n%s\n```\n\n", sentence(e.Usage), strings.Join(e.Forms, "\n"))
	for _, p := range e.Text {
		if p.Typed != "" {
			fmt.Fprintf(b, "```sh example\n%s```\n\n", p.Typed)
		} else if p.Prose != "Example:" {
			fmt.Fprintf(b, "%s\n\n", strings.TrimSuffix(p.Prose, "\n\nExample:"))
		}
	}
	if len(e.Flags) == 0 {
		return
	}
	b.WriteString("| flag | |\n|---|---|\n")
	for _, f := range e.Flags {
		fmt.Fprintf(b, "| `%s` | %s |\n", f.Names, cell(f.Usage))
	}
	b.WriteByte('\n')
}

// cell keeps text inside of its cell.
func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }

// sentence begins with a capital letter.
func sentence(text string) string { return strings.ToUpper(text[:1]) + text[1:] }
