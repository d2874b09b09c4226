package classic

import (
	"slices"
	"strings"

	"knockkit/internal/say"
	"knockkit/internal/tomldoc"
)

// section is what stands below a [title], the last value of each setting.
type section struct {
	title string
	head  place
	set   map[string]place // by the setting's name in capitals
	twice map[string]place // settings of which only the last counts: the one before
}

// The settings, by their names in capitals, as the daemon compares them.
var (
	optionNames = []string{"USESYSLOG", "LOGFILE", "PIDFILE", "INTERFACE"}
	doorNames   = []string{
		"SEQUENCE", "ONE_TIME_SEQUENCES", "SEQ_TIMEOUT", "TCPFLAGS", "TARGET",
		"START_COMMAND", "START_COMMAND_6", "CMD_TIMEOUT", "STOP_COMMAND", "STOP_COMMAND_6",
	}
	aliases = map[string]string{"TIMEOUT": "SEQ_TIMEOUT", "COMMAND": "START_COMMAND", "COMMAND_6": "START_COMMAND_6"}
)

// splitLines returns the lines without the white space around them.
func splitLines(text string) []place {
	var lines []place
	number := 0
	for raw := range strings.Lines(text) {
		number++
		raw = strings.TrimRight(raw, "\r\n")
		lines = append(lines, trim(place{line: number, text: raw, end: len(raw)}))
	}
	return lines
}

// trim takes the white space off both ends.
func trim(p place) place {
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
func (r *reader) sections(lines []place) (doors []*section, options map[string]place) {
	options = map[string]place{}
	var at *section
	for _, l := range lines {
		text := l.value()
		switch {
		case len(l.text) > maxLine:
			r.wrong(place{line: l.line, text: l.text[:l.start]}, "", "the line has %d bytes; the classic daemon reads %d at most", len(l.text), maxLine)
		case text == "" || text[0] == '#':
		case text[0] == '[':
			at = r.title(l, options)
			if at != nil && at.title != "options" {
				doors = append(doors, at)
			}
		case at == nil:
			r.wrong(l, `it begins with a title, as "[options]" or "[openSSH]"`, "a setting stands above the first section")
			return nil, nil // whatever it is, it is no such file
		default:
			r.setting(at, l)
		}
		if len(r.faults) >= 20 || len(doors) > maxSections {
			r.wrong(l, "", "the rest of the file is not looked at")
			return nil, nil
		}
	}
	return doors, options
}

func (r *reader) title(l place, options map[string]place) *section {
	text := l.value()
	s := &section{head: l, set: map[string]place{}, twice: map[string]place{}}
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

func (r *reader) setting(at *section, l place) {
	name, _, hasValue := strings.Cut(l.value(), "=")
	key := trim(l.part(0, len(name)))
	canonical := strings.ToUpper(key.value())
	if full, short := aliases[canonical]; short {
		canonical = full
	}
	known := doorNames
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
