package classic

import (
	"fmt"
	"slices"
	"unicode/utf8"

	"knockkit/protocol"
	"knockkit/protocol/format"
)

// MaxSize is as large as a configuration may be: a csf.conf has about 100 KiB.
const MaxSize = 1 << 20

// maxSections is more than anybody has; each is compared with each.
const maxSections = 256

// Import is a configuration as profiles.
type Import struct {
	Profiles []Profile // in the order of the file
	Left     []Section // sections of which no profile was made
	Remarks  []Remark  // in the order of the file
}

// Profile is the text of a profile's file. [format.ParseProfile] reads it without
// an error.
type Profile struct {
	Section
	Name   string // valid, and of one profile only
	Text   string
	Parsed *protocol.Profile
}

// Section is a part of the configuration that describes one sequence.
type Section struct {
	Title string // as the file has it
	Line  int    // from 1
}

// Remark is something that is not as it was, and where. An error is why its section
// was left; a warning is what changed, or got lost, on the way into a profile.
type Remark struct {
	format.Diagnostic
	Section string // its title; "" when it is about the whole file
	Profile string // that was made of the section; "" when none was
}

// Read turns a configuration into profiles. The file's name is for the notes and
// for the comment in each profile. The error is of type [protocol.Diagnostics], and
// says why the text is none of the files that have sequences: knockd.conf, OpenWrt's
// /etc/config/knockd, csf.conf.
func Read(file string, text []byte) (*Import, error) {
	r := &reader{file: file}
	switch {
	case len(text) > MaxSize:
		r.wrong(position{}, "", "the file has %d bytes: more than %d is no configuration", len(text), MaxSize)
	case !utf8.Valid(text):
		r.wrong(position{}, "save it as UTF-8 text", "the file is not text in UTF-8")
	default:
		r.read(splitLines(string(text)))
	}
	if len(r.faults) > 0 {
		return nil, r.faults
	}
	return r.result(), nil
}

// reader collects the remarks and drafts of one file.
type reader struct {
	file   string
	drafts []*draft
	notes  []Remark           // about the file as a whole
	faults format.Diagnostics // why it cannot be read
}

func (r *reader) read(lines []position) {
	if isCSF(lines) {
		r.readCSF(lines)
		return
	}
	read := r.sections
	if isUCI(lines) {
		read = r.readUCI
	}
	sections, options := read(lines)
	if len(r.faults) > 0 {
		return
	}
	if len(sections) == 0 {
		r.wrong(position{}, "it is made for /etc/knockd.conf, OpenWrt's /etc/config/knockd, and csf.conf with PORTKNOCKING set", "no section of the file has a sequence")
	}
	r.general(options)
	for _, s := range sections {
		r.drafts = append(r.drafts, readDraft(s, options["INTERFACE"]))
	}
	explainClosers(r.drafts)
}

// result makes the profiles, and leaves those that do not go together.
func (r *reader) result() *Import {
	nameThem(r.drafts)
	for _, d := range r.drafts {
		d.compose(r.file)
	}
	skipConflicts(r.drafts)
	im := &Import{Remarks: r.notes}
	for _, d := range r.drafts {
		at := Section{Title: d.title, Line: d.head.line}
		made := ""
		if d.profile == nil {
			im.Left = append(im.Left, at)
		} else {
			made = d.name
			im.Profiles = append(im.Profiles, Profile{Section: at, Name: d.name, Text: d.text, Parsed: d.profile})
		}
		for _, t := range d.troubles {
			if t.mild && d.profile == nil {
				continue // nothing is different where there is nothing
			}
			im.Remarks = append(im.Remarks, Remark{Diagnostic: t.diagnostic(r.file), Section: d.title, Profile: made})
		}
	}
	slices.SortStableFunc(im.Remarks, func(a, b Remark) int { return a.Line - b.Line })
	return im
}

// wrong reports why the file cannot be read.
func (r *reader) wrong(at position, hint, format string, args ...any) {
	t := trouble{at: at, message: fmt.Sprintf(format, args...), hint: hint}
	r.faults = append(r.faults, t.diagnostic(r.file))
}

// remark reports something about the file as a whole.
func (r *reader) remark(at position, hint, format string, args ...any) {
	t := trouble{at: at, message: fmt.Sprintf(format, args...), hint: hint, mild: true}
	r.notes = append(r.notes, Remark{Diagnostic: t.diagnostic(r.file)})
}
