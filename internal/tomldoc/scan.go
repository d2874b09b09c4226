package tomldoc

import (
	"bytes"
	"strconv"
)

// maxDepth is how deep keys and values may nest. A profile needs four. Without a
// limit a file of 64 KiB of "a.a.a.…" keeps the TOML library busy for minutes.
const maxDepth = 16

// scanner finds the places of keys and values. It expects valid TOML and does
// not check it: on anything else it goes on with the next line, and the TOML
// library says what is wrong.
type scanner struct {
	data    []byte
	pos     int
	root    *node
	tooDeep *Span
	again   []repeat
}

// part is one name of a dotted key.
type part struct {
	name string
	span Span
}

// repeat is a key that is set a second time.
type repeat struct {
	name          string
	first, second Span
}

func scan(data []byte) *scanner {
	s := &scanner{data: data, root: &node{}}
	table := s.root
	for s.skipBlank(); s.pos < len(data); s.skipBlank() {
		if s.peek() == '[' {
			table = s.header()
		} else {
			s.pair(table, 1)
		}
		s.skipLine()
	}
	return s
}

// header reads "[a.b]" or "[[a.b]]" and returns the table that it opens.
func (s *scanner) header() *node {
	s.pos++
	list := s.peek() == '['
	if list {
		s.pos++
	}
	parts := s.parts()
	if len(parts) == 0 || s.deep(len(parts), parts[0].span) {
		return &node{}
	}
	at := s.walk(s.root, parts[:len(parts)-1])
	name := parts[len(parts)-1]
	if old := at.keys[name.name]; old != nil && (old.whole || !list && old.table) {
		s.again = append(s.again, repeat{name.name, old.key, name.span})
		return &node{}
	}
	table := at.open(name)
	if list {
		table = &node{key: name.span, value: name.span}
		at.keys[name.name].items = append(at.keys[name.name].items, table)
	}
	table.table, table.key, table.value = true, name.span, name.span
	return table
}

// pair reads "a.b = value" into a table.
func (s *scanner) pair(table *node, depth int) {
	parts := s.parts()
	s.skipSpace()
	if len(parts) == 0 || s.peek() != '=' || s.deep(depth+len(parts), parts[0].span) {
		return
	}
	s.pos++
	s.skipSpace()
	table = s.walk(table, parts[:len(parts)-1])
	name := parts[len(parts)-1]
	if old := table.keys[name.name]; old != nil {
		s.again = append(s.again, repeat{name.name, old.key, name.span})
		s.value(&node{}, depth+len(parts))
		return
	}
	n := table.open(name)
	s.value(n, depth+len(parts))
	n.whole = true
}

// walk goes to the table that a dotted key is in. The TOML library lets a key
// replace a value by a table ("a = 1", "a.b = 2"), which TOML forbids.
func (s *scanner) walk(at *node, parts []part) *node {
	for _, p := range parts {
		if old := at.keys[p.name]; old != nil && old.whole {
			s.again = append(s.again, repeat{p.name, old.key, p.span})
			return &node{}
		}
		at = at.open(p)
	}
	return at
}

// parts reads the names of a dotted key.
func (s *scanner) parts() []part {
	var parts []part
	for {
		s.skipSpace()
		start := s.pos
		name, ok := s.name()
		if !ok {
			return parts
		}
		parts = append(parts, part{name, Span{start, s.pos}})
		s.skipSpace()
		if s.peek() != '.' {
			return parts
		}
		s.pos++
	}
}

func (s *scanner) name() (string, bool) {
	start := s.pos
	switch s.peek() {
	case '\'':
		s.line('\'')
		return string(bytes.Trim(s.data[start:s.pos], "'")), true
	case '"':
		s.line('"')
		quoted := string(s.data[start:s.pos])
		if name, err := strconv.Unquote(quoted); err == nil {
			return name, true
		}
		return quoted, true // an escape that only TOML knows: its place is not found, nothing worse
	}
	for s.pos < len(s.data) && !bytes.ContainsRune([]byte(" \t\r\n.=[]{}\"'#,"), rune(s.data[s.pos])) {
		s.pos++
	}
	return string(s.data[start:s.pos]), s.pos > start
}

// deep reports whether the nesting is too deep; then the rest is not read.
func (s *scanner) deep(depth int, at Span) bool {
	if depth <= maxDepth {
		return false
	}
	s.tooDeep, s.pos = &at, len(s.data)
	return true
}

// peek returns the next byte, 0 at the end.
func (s *scanner) peek() byte {
	if s.pos < len(s.data) {
		return s.data[s.pos]
	}
	return 0
}

func (s *scanner) skipSpace() {
	for s.peek() == ' ' || s.peek() == '\t' {
		s.pos++
	}
}

// skipBlank skips white space, line ends and comments.
func (s *scanner) skipBlank() {
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case ' ', '\t', '\r', '\n':
			s.pos++
		case '#':
			s.skipLine()
		default:
			return
		}
	}
}

// skipLine goes to the beginning of the next line.
func (s *scanner) skipLine() {
	if end := bytes.IndexByte(s.data[s.pos:], '\n'); end >= 0 {
		s.pos += end + 1
	} else {
		s.pos = len(s.data)
	}
}
