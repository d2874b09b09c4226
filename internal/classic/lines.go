package classic

import (
	"fmt"
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
	wrong []trouble           // why no profile can be made of it, whatever else it says
	notes []trouble           // what is different in its profile

	unnamed bool // the title is a kind (UCI)
}

// maxFaults is as many faults as a person reads of one section, or one file.
const maxFaults = 20

// The settings, by their names in capitals, as the daemon compares them.
var (
	optionNames  = []string{"USESYSLOG", "LOGFILE", "PIDFILE", "INTERFACE"}
	sectionNames = []string{
		"SEQUENCE", "ONE_TIME_SEQUENCES", "SEQ_TIMEOUT", "TCPFLAGS", "TARGET",
		"START_COMMAND", "START_COMMAND_6", "CMD_TIMEOUT", "STOP_COMMAND", "STOP_COMMAND_6",
	}
	aliases = map[string]string{"TIMEOUT": "SEQ_TIMEOUT", "COMMAND": "START_COMMAND", "COMMAND_6": "START_COMMAND_6"}
)

// ofForks are settings that some variants of the daemon have, and what to write instead.
var ofForks = map[string]string{
	"SEQ_COOLDOWN":  "remove the line, and import again: a second sequence only starts the lease again",
	"KEY":           "let the daemon that has one-time knocks keep this section, or write a `sequence` instead, and import again",
	"IPSET":         "remove both lines, write what the set opens as start_command = iptables -I INPUT -s %IP% -p tcp --dport PORT -j ACCEPT, and import again",
	"PROTOCOL":      "write it behind each port, as sequence = 7000:udp,8000:udp, and import again",
	"SEQUENCE_FILE": "write the sequence itself, as sequence = 7000,8000,9000, and import again",
	"INTERFACE":     "write it into [options], where it holds for all sections, and import again",
}

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
			r.inSection(at, l.head(), "", "the line has %d bytes; the classic daemon reads %d at most", len(l.text), maxLine)
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
		if len(r.faults) >= maxFaults || len(drafts) > maxSections {
			r.wrong(l, "", "the rest of the file is not looked at")
			return nil, nil
		}
	}
	return drafts, options
}

func (r *reader) title(l position, options map[string]position) *section {
	text := l.value()
	s := &section{title: strings.Trim(text, "[]"), head: l, set: map[string]position{}, twice: map[string]position{}}
	whole := strings.HasSuffix(text, "]") && len(text) > 2
	if whole {
		s.title = text[1 : len(text)-1]
	}
	switch {
	case whole && s.title == "options":
		s.set = options // there may be several
	case strings.EqualFold(s.title, "options"): // they are about all sections
		r.wrong(l, `write "[options]"`, "the classic daemon takes this for a sequence with the name %s", tomldoc.Quote(s.title))
		s.title = "options" // no more about the same mistake
	case !whole:
		r.inSection(s, l, `write it as "[openSSH]", and import again`, "this is not the title of a section")
	}
	return s
}

// inSection reports a fault that costs its section; in the options, or above all sections, it
// is about the whole file.
func (r *reader) inSection(s *section, at position, hint, format string, args ...any) {
	if s == nil || s.title == "options" {
		r.wrong(at, hint, format, args...)
		return
	}
	if len(s.wrong) < maxFaults {
		s.wrong = append(s.wrong, trouble{at: at, message: fmt.Sprintf(format, args...), hint: hint})
	}
}

func (r *reader) setting(at *section, l position) {
	name, _, hasValue := strings.Cut(l.value(), "=")
	key := trim(l.part(0, len(name)))
	canonical := strings.ToUpper(key.value())
	switch {
	case !hasValue && canonical == "USESYSLOG": // taken anywhere
		at.set[canonical] = l
	case !hasValue:
		r.inSection(at, l, "write NAME = VALUE, or remove the line, and import again", "this is neither a title nor a setting with its value")
	default:
		r.set(at, key, trim(l.part(len(name)+1, len(l.value()))))
	}
}

// set gives the section a setting, if the daemon has one of this name.
func (r *reader) set(at *section, key, value position) {
	canonical := strings.ToUpper(key.value())
	if full, short := aliases[canonical]; short {
		canonical = full
	}
	known := sectionNames
	if at.title == "options" {
		known = optionNames
	}
	if !slices.Contains(known, canonical) {
		r.inSection(at, key, unknownSetting(canonical, known), "the classic daemon has no setting %s here", tomldoc.Quote(key.value()))
		return
	}
	if before, again := at.set[canonical]; again && at.title != "options" {
		at.twice[canonical] = before
	}
	at.set[canonical] = value
}

// unknownSetting says what to write instead of a setting that the daemon has not.
func unknownSetting(name string, known []string) string {
	if hint := ofForks[strings.TrimSuffix(name, "_TIMEOUT")]; hint != "" {
		return hint
	}
	if near := say.Closest(name, known); near != "" {
		return "did you mean " + strings.ToLower(near) + "?"
	}
	return "if it says nothing about who gets in, remove the line, and import again"
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

// head is the beginning of a line that is too long to show.
func (p position) head() position { return position{line: p.line, text: p.text[:p.start]} }

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
