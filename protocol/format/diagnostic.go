package format

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"knockkit/internal/say"
	"knockkit/internal/tomldoc"
)

// Severity says whether a file can be used in spite of a diagnostic.
type Severity uint8

// The severities.
const (
	SeverityError Severity = iota
	SeverityWarning
)

// String returns "error" or "warning".
func (s Severity) String() string {
	if s == SeverityWarning {
		return "warning"
	}
	return "error"
}

// Diagnostic is one thing that a person should change in a file, and where.
type Diagnostic struct {
	Severity Severity
	File     string // as it was given
	Line     int    // from 1; 0 for the file as a whole, which has no Column, Width and Text either
	Column   int    // from 1, in characters
	Width    int    // characters of the mistake, at least 1; 0: the line is not shown
	Text     string // the line, safe to print: see say.Plain
	Message  string // lower case, no full stop
	Hint     string // what to do about it; may be empty
}

// Diagnostics is all that is wrong with a file, in its order. Warnings alone are
// no error: use [Diagnostics.Err] to return it as one.
type Diagnostics []Diagnostic

// maxDiagnostics is as many as anybody reads of one file.
const maxDiagnostics = 100

// Diagnose turns the problems of a TOML file into diagnostics. More than a
// hundred are summed up in the last.
func Diagnose(file string, doc *tomldoc.Document) Diagnostics {
	var ds Diagnostics
	problems := doc.Problems()
	for i, p := range problems {
		if i == maxDiagnostics {
			return append(ds, Diagnostic{File: file, Severity: worst(problems[i:]), Message: fmt.Sprintf("%d more problems are not shown", len(problems)-i)})
		}
		d := Diagnostic{File: file, Message: say.Plain(p.Message), Hint: say.Plain(p.Hint)}
		if p.Warning {
			d.Severity = SeverityWarning
		}
		if line, text, from, to := doc.Locate(p.At); line > 0 {
			d = d.At(line, text, from, to)
		}
		ds = append(ds, d)
	}
	return ds
}

// At returns the diagnostic with its place: bytes from to to of a line, given by its number from 1
// and its text.
func (d Diagnostic) At(line int, text string, from, to int) Diagnostic {
	d.Line, d.Text = line, say.Plain(text)
	d.Column, d.Width = 1+utf8.RuneCountInString(text[:from]), max(1, utf8.RuneCountInString(text[from:to]))
	return d
}

func worst(problems []tomldoc.Problem) Severity {
	if slices.ContainsFunc(problems, func(p tomldoc.Problem) bool { return !p.Warning }) {
		return SeverityError
	}
	return SeverityWarning
}

// HasErrors reports whether any of them is more than a warning.
func (ds Diagnostics) HasErrors() bool { return len(ds.Errors()) > 0 }

// Errors returns those for which the file cannot be used.
func (ds Diagnostics) Errors() Diagnostics { return ds.only(SeverityError) }

// Warnings returns those that leave the file usable.
func (ds Diagnostics) Warnings() Diagnostics { return ds.only(SeverityWarning) }

func (ds Diagnostics) only(s Severity) Diagnostics {
	return slices.DeleteFunc(slices.Clone(ds), func(d Diagnostic) bool { return d.Severity != s })
}

// Err returns the errors among them as one error, nil when there is none.
func (ds Diagnostics) Err() error {
	if errs := ds.Errors(); len(errs) > 0 {
		return errs
	}
	return nil
}

// Error renders all of them, with carets, as [Diagnostics.Write] does.
func (ds Diagnostics) Error() string {
	var b strings.Builder
	_ = ds.Write(&b) // a Builder takes everything
	return strings.TrimSuffix(b.String(), "\n")
}

// maxLineColumns is how much of a long line is shown around the caret.
const maxLineColumns = 100

// Write renders the diagnostics for a terminal of any width, each as
//
//	mysql.toml:4:22: error: no service is called "ehco" for tcp
//	  4 | sequence = ["icmp", "ehco/tcp"]
//	    |                      ^^^^
//	  hint: did you mean "echo/tcp"?
func (ds Diagnostics) Write(w io.Writer) error {
	for _, d := range ds {
		if _, err := io.WriteString(w, d.String()+"\n"); err != nil {
			return fmt.Errorf("write diagnostics: %w", err)
		}
	}
	return nil
}

// Masked returns them without the values of their lines, but for what is marked: the sequence is a
// secret, and errors go to logs.
func (ds Diagnostics) Masked() Diagnostics {
	all := slices.Clone(ds)
	for i, d := range all {
		text := []rune(d.Text)
		for at := max(0, slices.Index(text, '=')); at < len(text); at++ {
			marked := at >= d.Column-1 && at < d.Column-1+d.Width
			if !marked && (unicode.IsLetter(text[at]) || unicode.IsDigit(text[at])) {
				text[at] = '*'
			}
		}
		all[i].Text = string(text)
	}
	return all
}

// String renders the diagnostic, in one to four lines without the last line end.
func (d Diagnostic) String() string {
	file := say.Plain(d.File)
	if d.Line == 0 {
		return d.withHint(fmt.Sprintf("%s: %s: %s", file, d.Severity, d.Message))
	}
	head := fmt.Sprintf("%s:%d:%d: %s: %s", file, d.Line, d.Column, d.Severity, d.Message)
	if d.Width == 0 {
		return d.withHint(head)
	}
	before, marked, after := d.window()
	number := fmt.Sprintf("%3d", d.Line)
	caret := strings.Repeat(" ", say.Width(before)) + strings.Repeat("^", max(1, say.Width(marked)))
	return d.withHint(fmt.Sprintf("%s\n%s | %s\n%*s | %s", head, number, before+marked+after, len(number), "", caret))
}

func (d Diagnostic) withHint(text string) string {
	if d.Hint == "" {
		return text
	}
	return text + "\n  hint: " + d.Hint
}

// window splits the line at the mistake, and cuts a line that is too long for a terminal so that the
// beginning of the mistake is always shown.
func (d Diagnostic) window() (before, marked, after string) {
	line := []rune(d.Text)
	start := min(max(d.Column-1, 0), len(line))
	end := min(start+d.Width, len(line))
	from, to := 0, len(line)
	if len(line) > maxLineColumns {
		from = max(0, min(start-maxLineColumns/3, len(line)-maxLineColumns))
		to = min(len(line), from+maxLineColumns)
		end = min(end, to)
	}
	before, marked, after = string(line[from:start]), string(line[start:end]), string(line[end:to])
	if from > 0 {
		before = "…" + before
	}
	if to < len(line) {
		after += "…"
	}
	return before, marked, after
}
