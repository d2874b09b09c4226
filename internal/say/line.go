package say

import (
	"fmt"
	"os"
	"sync"

	"golang.org/x/term"
)

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
