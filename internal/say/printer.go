package say

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// A Printer writes words for people, one line each, after the program's name:
// "knock: hint: …". Messages are lower case and end without a full stop.
type Printer struct {
	Name     string    // the program's
	W        io.Writer // standard error
	Quiet    bool      // only errors and their hints
	Terminal bool      // W is a terminal that can rewrite its last line
	Color    bool
}

// To returns a Printer that found out itself whether w is a terminal and
// whether it may use colour (NO_COLOR, TERM=dumb).
func To(name string, w io.Writer) *Printer {
	terminal := IsTerminal(w)
	return &Printer{Name: name, W: w, Terminal: terminal, Color: terminal && os.Getenv("NO_COLOR") == ""}
}

// IsTerminal reports whether w is a terminal that understands more than plain
// lines.
func IsTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb"
}

// Error writes "NAME: error: …". An error of several lines keeps them, but those that
// follow are indented: what a tool or a file's name says cannot look like words of ours.
func (p *Printer) Error(err error) {
	p.line("error: ", red, Painted(strings.ReplaceAll(plainLines(err.Error()), "\n", "\n  ")))
}

// Hint writes "NAME: hint: …", once for each line of text; nothing for "".
func (p *Printer) Hint(text string) {
	for line := range strings.Lines(text) {
		p.line("hint: ", cyan, Text("%s", strings.TrimRight(line, "\n")))
	}
}

// Warning writes "NAME: warning: …" unless quiet.
func (p *Printer) Warning(format string, args ...any) {
	if !p.Quiet {
		p.line("warning: ", yellow, Text(format, args...))
	}
}

// Note writes "NAME: …" unless quiet: what was done, for who watches.
func (p *Printer) Note(format string, args ...any) {
	if !p.Quiet {
		p.line("", "", Text(format, args...))
	}
}

// Detail writes an indented line without the name, below a note, unless quiet.
func (p *Printer) Detail(format string, args ...any) {
	if !p.Quiet {
		fmt.Fprintf(p.W, "  %s\n", Text(format, args...))
	}
}

// Block writes lines as they are, without the name, also when quiet; nothing
// for "". It is what an error that follows is about.
func (p *Printer) Block(text string) {
	if text = strings.TrimSuffix(text, "\n"); text != "" {
		fmt.Fprintln(p.W, plainLines(text))
	}
}

func (p *Printer) line(kind, color string, text Painted) {
	fmt.Fprintf(p.W, "%s: %s%s\n", p.Name, p.paint(color, kind), text)
}
