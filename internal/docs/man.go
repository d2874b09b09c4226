package docs

import (
	"fmt"
	"strings"

	"github.com/cpuguy83/go-md2man/v2/md2man"
)

// man returns a manual page in roff. It has no date: the same program makes the
// same page. seeAlso is as "knock(1)".
func (p program) man(section, version, seeAlso string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "%% %q %q \"\" %q\n\n", strings.ToUpper(p.Path), section, p.Path+" "+version)
	fmt.Fprintf(&b, "# NAME\n\n%s - %s\n\n# SYNOPSIS\n\n", p.Path, p.Usage)
	manForms(&b, p.Forms)
	b.WriteString("# DESCRIPTION\n\n")
	manText(&b, p.Text)
	manFlags(&b, "# OPTIONS\n\n", append(p.Flags, option{"--help, -h", "say what there is; after a command, what it takes"}))
	b.WriteString("# COMMANDS\n\n")
	for _, c := range p.Commands {
		if c.Groups {
			continue // its commands say the same
		}
		fmt.Fprintf(&b, "### %s\n\n%s.\n\n", c.Path, sentence(c.Usage))
		manForms(&b, c.Forms)
		manText(&b, c.Text)
		manFlags(&b, "", c.Flags)
		b.WriteString(c.shared(p.Path))
	}
	fmt.Fprintf(&b, "# SEE ALSO\n\n%s\n", seeAlso)
	return md2man.Render([]byte(b.String()))
}

func manForms(b *strings.Builder, forms []string) {
	for i, f := range forms {
		if i > 0 {
			b.WriteString("  \n") // two spaces break the line
		}
		fmt.Fprintf(b, "`%s`", f)
	}
	b.WriteString("\n\n")
}

func manText(b *strings.Builder, text []part) {
	for _, p := range text {
		if p.Typed != "" {
			fmt.Fprintf(b, "```\n%s```\n\n", p.Typed)
		} else {
			fmt.Fprintf(b, "%s\n\n", p.Prose)
		}
	}
}

func manFlags(b *strings.Builder, heading string, flags []option) {
	if len(flags) > 0 {
		b.WriteString(heading)
	}
	for _, f := range flags {
		fmt.Fprintf(b, "`%s`\n: %s\n\n", f.Names, f.Usage)
	}
}

// markdown returns a chapter: a list of the commands, and a heading for each. Lines
// to type are blocks of "sh example".
func (p program) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "## %s\n\n", p.Path)
	p.entry.markdown(&b)
	b.WriteString("| command | |\n|---|---|\n")
	for _, c := range p.Commands {
		fmt.Fprintf(&b, "| [`%s`](#%s) | %s |\n", c.Path, strings.ReplaceAll(c.Path, " ", "-"), cell(c.Usage))
	}
	b.WriteByte('\n')
	for _, c := range p.Commands {
		fmt.Fprintf(&b, "### %s\n\n", c.Path)
		c.markdown(&b)
		b.WriteString(c.shared("[" + p.Path + "](#" + p.Path + ")"))
	}
	return b.String()
}

func (e entry) markdown(b *strings.Builder) {
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
