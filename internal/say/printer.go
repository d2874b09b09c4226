package say

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

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

// Hint writes "NAME: hint: …", once for each line of text; nothing for "". It is that of an error,
// and so is written when quiet: that of a warning or a note is [Printer.Advice].
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

// Advice writes the hint of a warning or a note unless quiet: without those nobody knows what it is about.
func (p *Printer) Advice(text string) {
	if !p.Quiet {
		p.Hint(text)
	}
}

// Note writes "NAME: …" unless quiet: a message about what was done.
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

// Picture writes a drawing of block characters: white on black where colours are possible, whatever
// those of the terminal are. On a terminal that is too narrow it warns instead, by the drawing's name.
func (p *Printer) Picture(name, lines string) {
	for line := range strings.Lines(lines) {
		if width, room := Width(strings.TrimSuffix(line, "\n")), p.columns(); p.Terminal && width > room {
			p.Warning("the %s needs %d columns, and the terminal has %d: make it wider", name, width, room)
			return
		}
	}
	for line := range strings.Lines(lines) {
		fmt.Fprintf(p.W, "%s\n", p.paint(whiteOnBlack, strings.TrimSuffix(line, "\n")))
	}
}

func (p *Printer) line(kind, color string, text Painted) {
	fmt.Fprintf(p.W, "%s: %s%s\n", p.Name, p.paint(color, kind), text)
}

const (
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	cyan   = "\x1b[36m"
	reset  = "\x1b[0m"

	whiteOnBlack = "\x1b[97;40m"
)

// Good paints text that reports a success.
func (p *Printer) Good(text string) Painted { return p.paint(green, text) }

// Bad paints text that reports a failure.
func (p *Printer) Bad(text string) Painted { return p.paint(red, text) }

func (p *Printer) paint(color, text string) Painted {
	text = Plain(text)
	if !p.Color || text == "" || color == "" {
		return Painted(text)
	}
	return Painted(color + text + reset)
}

// A Line is one line of a terminal that is written over and over while
// something goes on. Where there is no terminal, or the printer is quiet, it
// writes nothing: what must be read in a log is a note.
type Line struct {
	p    *Printer
	mu   sync.Mutex
	on   bool
	last string
}

// Line starts a line. Nothing else may be printed until Clear.
func (p *Printer) Line() *Line {
	return &Line{p: p, on: p.Terminal && !p.Quiet}
}

// Set replaces the line's text, cut to the terminal's width.
func (l *Line) Set(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.on || text == l.last {
		return
	}
	l.last = text
	fmt.Fprintf(l.p.W, "\r%s\x1b[K", Cut(Plain(text), l.p.columns()-1))
}

// Clear takes the line away and ends it: a later Set writes nothing.
func (l *Line) Clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.on && l.last != "" {
		fmt.Fprint(l.p.W, "\r\x1b[K")
	}
	l.on = false
}

// columns returns the terminal's width, asked each time: windows are resized.
func (p *Printer) columns() int {
	if f, ok := p.W.(*os.File); ok {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
			return width
		}
	}
	return 80
}
