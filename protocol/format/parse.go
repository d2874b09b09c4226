package format

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"

	"knockkit/internal/files"
	"knockkit/internal/tomldoc"
	"knockkit/protocol"
)

// ParseProfile reads a profile in three stages: TOML text → rawProfile, where
// what is unset can be seen → [Profile], valid by construction. All problems of
// the file are reported in one run. The profile is nil when any of them is an
// error; warnings come with a profile. Its name is the file's base name.
func ParseProfile(file string, data []byte) (*protocol.Profile, Diagnostics) {
	if bytes.HasPrefix(bytes.TrimSpace(data), []byte(LinkBegin)) { // which is a secret, and not shown
		return nil, Diagnostics{{Severity: SeverityError, File: file, Message: "the file is a link, and no profile",
			Hint: "where one knocks from: knock enroll - < FILE makes a profile of it"}}
	}
	doc := tomldoc.Parse(data, protocol.MaxProfileSize)
	readable := doc.Errors() == 0
	name := ProfileName(file)
	if err := CheckName(name); err != nil {
		doc.Error(tomldoc.Span{}, err.Error(), `rename the file: lower-case letters, digits and hyphens, at most 20, as "mysql.toml"`)
	}
	var p *protocol.Profile
	switch {
	case readable && doc.Root().Empty():
		what := "the file is empty"
		if len(bytes.TrimSpace(data)) > 0 {
			what = "the file has comments only"
		}
		doc.Error(tomldoc.Span{}, what, "a copy that fails leaves such a file: copy it again")
	case readable:
		p = readProfile(name, doc, true)
	}
	if doc.Errors() > 0 {
		p = nil
	}
	return p, Diagnose(file, doc)
}

// ProfileName returns the name of the profile that a file holds.
func ProfileName(file string) string {
	return strings.TrimSuffix(filepath.Base(file), ".toml")
}

// CheckName returns an error unless name is one for a profile:
// [a-z0-9][a-z0-9-]{0,19}.
func CheckName(name string) error {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789"
	if name == "" || len(name) > 20 || strings.Trim(name, letters+"-") != "" || name[0] == '-' {
		return fmt.Errorf("%s is not a name for a profile", tomldoc.Quote(name))
	}
	return nil
}

// parser is the stage from rawProfile to Profile. It goes on after an error, so that all are found;
// a profile with an error is not used.
type parser struct {
	doc  *tomldoc.Document
	raw  *rawProfile
	p    *protocol.Profile
	step []tomldoc.Span // where p's steps are written
	wait []tomldoc.Span // and their times; zero where it is the default
	open []tomldoc.Span // where p's ranges are written

	written bool // a person wrote it; else it is read from the kernel
}

// readProfile reads the document's values. Warnings are for people who write files: a profile that
// is read from the kernel gets none.
func readProfile(name string, doc *tomldoc.Document, written bool) *protocol.Profile {
	a := &parser{doc: doc, raw: readRaw(doc.Root()), p: &protocol.Profile{Name: name}, written: written}
	a.general()
	a.sequence()
	a.signed()
	a.opens()
	a.lease()
	a.closing()
	a.scope()
	a.opened()
	a.client()
	if written && doc.Errors() == 0 {
		a.warn()
	}
	return a.p
}

// text reports a mistake inside a string.
func (a *parser) text(f tomldoc.Field[string], err error) {
	var e *SyntaxError
	if errors.As(err, &e) {
		a.doc.Error(a.doc.Inside(f.At, f.Value, e.Start, e.End), e.Message, e.Hint)
		return
	}
	a.doc.Error(f.At, err.Error(), "")
}

// or returns the field's value, the default when it is unset.
func or[T any](f *tomldoc.Field[T], unset T) T {
	if f == nil {
		return unset
	}
	return f.Value
}

// choose returns the value that a field names; the first when it is unset.
func choose[T fmt.Stringer](a *parser, key string, f *tomldoc.Field[string], among ...T) T {
	if f == nil {
		return among[0]
	}
	var names []string
	for _, v := range among {
		if f.Value == v.String() {
			return v
		}
		names = append(names, v.String())
	}
	hint := tomldoc.Meant(strings.ToLower(f.Value), names)
	if hint == "" {
		last := len(names) - 1
		hint = "it can be " + strings.Join(names[:last], ", ") + " or " + names[last]
	}
	a.doc.Error(f.At, fmt.Sprintf("`%s` cannot be %s", key, tomldoc.Quote(f.Value)), hint)
	return among[0]
}

// Limits of the client's timing.
const (
	maxGap      = 10 * time.Second
	maxAttempts = 10
)

// general reads what a profile is called and which host it is for.
func (a *parser) general() {
	a.p.Enabled = or(a.raw.Enabled, true)
	if f := a.raw.Description; f != nil {
		a.p.Description = f.Value
		if strings.ContainsFunc(f.Value, func(r rune) bool { return !unicode.IsPrint(r) }) {
			a.doc.Error(f.At, "the description is not one line of plain text", "it is shown in lists: remove line ends, tabs and control characters")
		}
	}
	for _, item := range a.list(a.raw.Host, "leave `host` out to name it on the command line") {
		if err := CheckHost(item.Value); err != nil {
			a.text(item, err)
		}
		a.p.Hosts = append(a.p.Hosts, item.Value)
	}
	a.p.AnyHost = or(a.raw.Any, false)
}

// CheckHost returns why a text is neither an address nor a possible name in the DNS: a [*SyntaxError].
func CheckHost(host string) error {
	if _, err := netip.ParseAddr(host); err == nil {
		return nil
	}
	bare := strings.Trim(host, "[]")
	if _, err := netip.ParseAddr(bare); err == nil {
		return wrong(host, "", fmt.Sprintf("write %q", bare), "an address has no brackets here")
	}
	name, port, hasPort := strings.Cut(host, ":")
	odd := strings.Trim(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
	switch {
	case host == "":
		return wrong(host, "", `write a name or an address, as "db1.example.com"`, "the host is empty")
	case hasPort && port != "" && strings.Trim(port, "0123456789") == "":
		return wrong(host, ":"+port, fmt.Sprintf("write %q; ports belong into `sequence` and `open`", name), "a host has no port")
	case odd != "" || host[0] == '-' || len(host) > 253 || slices.Contains(strings.Split(strings.TrimSuffix(host, "."), "."), ""):
		return wrong(host, "", `write a name or an address, as "db1.example.com"`, "%s is not a host", tomldoc.Quote(host))
	}
	return nil
}

// client reads the timing of the client.
func (a *parser) client() {
	a.p.Client = protocol.Client{Gap: protocol.DefaultGap, Attempts: protocol.DefaultAttempts, Verify: true}
	raw := a.raw.Client
	if raw == nil {
		return
	}
	a.p.Client.Attempts = a.between(raw.Attempts, 1, maxAttempts, protocol.DefaultAttempts)
	a.p.Client.Verify = or(raw.Verify, true)
	if raw.Gap == nil {
		return
	}
	gap, err := ParseDuration(raw.Gap.Value)
	switch {
	case err != nil:
		a.text(*raw.Gap, err)
	case gap == 0:
		a.doc.Error(raw.Gap.At, "knocks without a gap overtake each other", fmt.Sprintf("the default is %q", protocol.FormatDuration(protocol.DefaultGap)))
	case gap%time.Millisecond != 0:
		a.doc.Error(raw.Gap.At, "the gap is in whole milliseconds", didYouMean(protocol.FormatDuration(gap.Truncate(time.Millisecond)+time.Millisecond)))
	case gap > maxGap:
		a.doc.Error(raw.Gap.At, fmt.Sprintf("the gap is longer than %s", protocol.FormatDuration(maxGap)), fmt.Sprintf("the default is %q", protocol.FormatDuration(protocol.DefaultGap)))
	}
	a.p.Client.Gap = gap
}

// ReadProfile reads a profile's file, of which the name is the profile's. The error is that of
// the file system, or [Diagnostics]: all mistakes, each with its line. Warnings are left out.
func ReadProfile(file string) (*protocol.Profile, error) {
	text, err := files.Read(file, protocol.MaxProfileSize)
	if err != nil {
		return nil, err
	}
	p, problems := ParseProfile(file, text)
	return p, problems.Err()
}
