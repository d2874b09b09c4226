package classic

import (
	"unicode/utf8"

	"knockkit/internal/say"
	"knockkit/protocol"
)

// place is a part of a line.
type place struct {
	line       int    // from 1; 0 for the whole file
	text       string // the whole line
	start, end int    // bytes of text
}

// part returns the place's bytes from start to end, counted from its own start.
func (p place) part(start, end int) place {
	p.start, p.end = p.start+start, min(p.start+end, p.end)
	return p
}

// value returns the text at the place.
func (p place) value() string { return p.text[p.start:p.end] }

// trouble is something that a profile cannot say, or says differently.
type trouble struct {
	at      place
	message string
	hint    string
	mild    bool // the section is carried over all the same
}

func (t *trouble) Error() string { return t.message }

func (t *trouble) diagnostic(file string) protocol.Diagnostic {
	d := protocol.Diagnostic{File: file, Message: say.Plain(t.message), Hint: say.Plain(t.hint)}
	if t.mild {
		d.Severity = protocol.SeverityWarning
	}
	if p := t.at; p.line > 0 {
		d.Line, d.Text = p.line, say.Plain(p.text)
		d.Column = 1 + utf8.RuneCountInString(p.text[:p.start])
		d.Width = max(1, utf8.RuneCountInString(p.value()))
	}
	return d
}
