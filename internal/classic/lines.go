package classic

import (
	"slices"
	"strings"

	"knockkit/internal/say"
	"knockkit/internal/tomldoc"
	"knockkit/protocol/format"
)

// section is the lines below a [title]: the last value of each setting.
type section struct {
	title string
	head  position
	set   map[string]position // by the setting's name in capitals
	twice map[string]position // settings of which only the last counts: the one before
}

// The settings, by their names in capitals, as the daemon compares them.
var (
	optionNames  = []string{"USESYSLOG", "LOGFILE", "PIDFILE", "INTERFACE"}
	sectionNames = []string{
		"SEQUENCE", "ONE_TIME_SEQUENCES", "SEQ_TIMEOUT", "TCPFLAGS", "TARGET",
		"START_COMMAND", "START_COMMAND_6", "CMD_TIMEOUT", "STOP_COMMAND", "STOP_COMMAND_6",
	}
	aliases = map[string]string{"TIMEOUT": "SEQ_TIMEOUT", "COMMAND": "START_COMMAND", "COMMAND_6": "START_COMMAND_6"}
)

// splitLines returns the lines without the white space around them.
func splitLines(text string) []position {
	var lines []position
	number := 0
	for raw := range strings.Lines(text) {
		number++
		raw = strings.TrimRight(raw, "\r\n")
		lines = append(lines, trim(position{line: number, text: raw, end: len(raw)}))
	}
	return lines
}

// trim takes the white space off both ends.
func trim(p position) position {
	v := p.value()
	left := len(v) - len(strings.TrimLeft(v, white))
	p.start += left
	p.end = p.start + len(strings.TrimRight(v[left:], white))
	return p
}

// maxLine is as long as a line may be that the classic daemon reads as one.
const maxLine = 4095

const white = " \t\v\f\r"

// sections reads the file as the daemon does: a comment is a whole line, names of
// settings are compared without regard to case, titles are not, and what follows
// the first "=" is the value.
func (r *reader) sections(lines []position) (drafts []*section, options map[string]position) {
	options = map[string]position{}
	var at *section
	for _, l := range lines {
		text := l.value()
		switch {
		case len(l.text) > maxLine:
			r.wrong(position{line: l.line, text: l.text[:l.start]}, "", "the line has %d bytes; the classic daemon reads %d at most", len(l.text), maxLine)
		case text == "" || text[0] == '#':
		case text[0] == '[':
			at = r.title(l, options)
			if at != nil && at.title != "options" {
				drafts = append(drafts, at)
			}
		case at == nil:
			r.wrong(l, `it begins with a title, as "[options]" or "[openSSH]"`, "a setting stands above the first section")
			return nil, nil // whatever it is, it is no such file
		default:
			r.setting(at, l)
		}
		if len(r.faults) >= 20 || len(drafts) > maxSections {
			r.wrong(l, "", "the rest of the file is not looked at")
			return nil, nil
		}
	}
	return drafts, options
}

func (r *reader) title(l position, options map[string]position) *section {
	text := l.value()
	s := &section{head: l, set: map[string]position{}, twice: map[string]position{}}
	if !strings.HasSuffix(text, "]") || len(text) < 3 {
		r.wrong(l, "", "this is not the title of a section")
		return s
	}
	s.title = text[1 : len(text)-1]
	switch {
	case s.title == "options":
		s.set = options // there may be several
	case strings.EqualFold(s.title, "options"):
		r.wrong(l, `write "[options]"`, "the classic daemon takes this for a sequence with the name %s", tomldoc.Quote(s.title))
		s.title = "options" // no more about the same mistake
	}
	return s
}

func (r *reader) setting(at *section, l position) {
	name, _, hasValue := strings.Cut(l.value(), "=")
	key := trim(l.part(0, len(name)))
	canonical := strings.ToUpper(key.value())
	if full, short := aliases[canonical]; short {
		canonical = full
	}
	known := sectionNames
	if at.title == "options" {
		known = optionNames
	}
	switch {
	case !hasValue && canonical == "USESYSLOG": // taken anywhere
		at.set[canonical] = l
		return
	case !hasValue:
		r.wrong(l, "", "this is neither a title nor a setting with its value")
		return
	case !slices.Contains(known, canonical):
		hint := ""
		if near := say.Closest(canonical, known); near != "" {
			hint = "did you mean " + strings.ToLower(near) + "?"
		}
		r.wrong(key, hint, "the classic daemon has no setting %s here", tomldoc.Quote(key.value()))
		return
	}
	if before, again := at.set[canonical]; again && at.title != "options" {
		at.twice[canonical] = before
	}
	at.set[canonical] = trim(l.part(len(name)+1, len(l.value())))
}

// general reports what becomes of the daemon's own settings.
func (r *reader) general(options map[string]position) {
	for name, at := range options {
		switch name {
		case "USESYSLOG", "LOGFILE":
			r.remark(at, "", "not carried over: nothing of ours sees a knock; \"knockd run\" writes leases to its own log")
		case "PIDFILE":
			r.remark(at, "", "not carried over: the rules need no process")
		}
	}
}

// position is a part of a line.
type position struct {
	line       int    // from 1; 0 for the whole file
	text       string // the whole line
	start, end int    // bytes of text
}

// part returns the place's bytes from start to end, counted from its own start.
func (p position) part(start, end int) position {
	p.start, p.end = p.start+start, min(p.start+end, p.end)
	return p
}

// value returns the text at the place.
func (p position) value() string { return p.text[p.start:p.end] }

// trouble is something that a profile cannot say, or says differently.
type trouble struct {
	at      position
	message string
	hint    string
	mild    bool // the section is carried over all the same
}

func (t *trouble) diagnostic(file string) format.Diagnostic {
	d := format.Diagnostic{File: file, Message: say.Plain(t.message), Hint: say.Plain(t.hint)}
	if t.mild {
		d.Severity = format.SeverityWarning
	}
	if p := t.at; p.line > 0 {
		d = d.At(p.line, p.text, p.start, p.end)
	}
	return d
}
