package classic

import (
	"fmt"
	"strings"

	"knockkit/internal/tomldoc"
)

// isUCI reports whether the lines are those of OpenWrt's /etc/config/knockd: the first that says
// something begins with "config" or "package".
func isUCI(lines []position) bool {
	for _, l := range lines {
		if text := l.value(); text != "" && text[0] != '#' {
			name, _ := cutField(l)
			return name.value() == "config" || name.value() == "package"
		}
	}
	return false
}

// readUCI reads OpenWrt's form as its init script does, which makes a knockd.conf of it: "config
// options" are the daemon's, and every other section is a sequence, with the daemon's settings.
func (r *reader) readUCI(lines []position) (sections []*section, options map[string]position) {
	options = map[string]position{}
	var at *section
	for _, l := range lines {
		keyword, rest := cutField(l)
		switch {
		case len(l.text) > maxLine:
			r.inSection(at, l.head(), "", "the line has %d bytes; more than %d is no setting", len(l.text), maxLine)
		case keyword.value() == "" || strings.HasPrefix(keyword.value(), "#") || keyword.value() == "package":
		case keyword.value() == "config":
			at = r.uciSection(l, rest, options)
			if at.title != "options" {
				sections = append(sections, at)
			}
		case at == nil:
			r.wrong(l, `it begins as "config rule 'ssh'"`, "a setting stands above the first section")
			return nil, nil
		case keyword.value() == "option":
			r.uciOption(at, l, rest)
		case keyword.value() == "list":
			r.inSection(at, l, "write one `option` with commas, and import again", "the classic daemon has no lists")
		default:
			r.inSection(at, l, "write option NAME 'VALUE', and import again", "this is neither a section nor an option")
		}
		if len(r.faults) >= maxFaults || len(sections) > maxSections {
			r.wrong(l, "", "the rest of the file is not read")
			return nil, nil
		}
	}
	return sections, options
}

// uciSection begins a section: config TYPE 'NAME', or without a name.
func (r *reader) uciSection(l, rest position, options map[string]position) *section {
	kind, rest := cutField(rest)
	s := &section{title: kind.value(), head: l, set: map[string]position{}, twice: map[string]position{}}
	if kind.value() == "options" {
		s.set = options
		return s
	}
	name, ok := uciValue(rest)
	switch {
	case !ok:
		r.inSection(s, l, "write it as config rule 'ssh', and import again", "this is not the head of a section")
	case name.value() == "":
		s.unnamed = true
	case name.value() == "options": // the name of the daemon's own section
		s.title += "-options"
	default:
		s.title = name.value()
	}
	return s
}

// uciOption reads option NAME 'VALUE'.
func (r *reader) uciOption(at *section, l, rest position) {
	key, rest := cutField(rest)
	value, ok := uciValue(rest)
	if !ok {
		r.inSection(at, l, "write the value between quotes of one kind that are not in it, and import again", "the value's quotes are not understood here")
		return
	}
	if name := key.value(); strings.HasSuffix(name, "command6") { // the package's own example has it
		full := strings.TrimSuffix(name, "6") + "_6"
		at.notes = append(at.notes, trouble{at: key, mild: true, message: fmt.Sprintf("OpenWrt's init script reads %s alone, so this command has never run", tomldoc.Quote(full)),
			hint: "it is imported as if it had: the lease ends over IPv6 too"})
		text := l.text[:key.start] + full + l.text[key.end:]
		key = position{line: l.line, text: text, start: key.start, end: key.start + len(full)}
	}
	r.set(at, key, value)
}

// uciValue returns what stands between quotes of one kind, or one bare word. Quotes and
// backslashes inside, and what stands behind, are refused.
func uciValue(p position) (position, bool) {
	text := p.value()
	if text == "" {
		return p, true
	}
	if quote := text[0]; quote == '\'' || quote == '"' {
		n := strings.IndexByte(text[1:], quote) + 1
		behind := trim(p.part(n+1, len(text))).value()
		if n == 0 || behind != "" && behind[0] != '#' || quote == '"' && strings.Contains(text[:n], `\`) {
			return p, false
		}
		return p.part(1, n), true
	}
	word, rest := cutField(p)
	behind := rest.value()
	return word, !strings.ContainsAny(word.value(), `'"\`) && (behind == "" || behind[0] == '#')
}

// cutField returns the first word and what stands behind it.
func cutField(p position) (word, rest position) {
	n := strings.IndexAny(p.value(), white)
	if n < 0 {
		n = len(p.value())
	}
	return p.part(0, n), trim(p.part(n, len(p.value())))
}
