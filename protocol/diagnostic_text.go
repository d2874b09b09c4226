package protocol

import (
	"fmt"
	"io"
	"strings"

	"knockkit/internal/say"
)

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

// String renders the diagnostic, in one to four lines without the last line end.
func (d Diagnostic) String() string {
	file := say.Plain(d.File)
	if d.Line == 0 {
		return d.withHint(fmt.Sprintf("%s: %s: %s", file, d.Severity, d.Message))
	}
	head := fmt.Sprintf("%s:%d:%d: %s: %s", file, d.Line, d.Column, d.Severity, d.Message)
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

// window splits the line at the complaint and cuts what is too long for a
// terminal: the complaint's beginning is always seen.
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
