package tomldoc

import "bytes"

// value reads one value into its node.
func (s *scanner) value(n *node, depth int) {
	start := s.pos
	if s.deep(depth, Span{start, start + 1}) {
		return
	}
	switch c := s.peek(); c {
	case '"', '\'':
		s.quoted(c)
	case '[':
		s.array(n, depth)
	case '{':
		s.inline(n, depth)
	default:
		s.bare()
	}
	n.value = Span{start, s.pos}
}

// array reads "[ value, … ]", over several lines and with comments.
func (s *scanner) array(n *node, depth int) {
	s.pos++
	for s.skipBlank(); s.pos < len(s.data); s.skipBlank() {
		if s.peek() == ']' {
			s.pos++
			return
		}
		before, item := s.pos, &node{}
		s.value(item, depth+1)
		n.items = append(n.items, item)
		s.skipBlank()
		if s.peek() == ',' {
			s.pos++
		}
		if s.pos == before {
			return
		}
	}
}

// inline reads "{ key = value, … }". TOML 1.1 allows it several lines.
func (s *scanner) inline(n *node, depth int) {
	s.pos++
	for s.skipBlank(); s.pos < len(s.data); s.skipBlank() {
		if s.peek() == '}' {
			s.pos++
			return
		}
		before := s.pos
		s.pair(n, depth)
		s.skipBlank()
		if s.peek() == ',' {
			s.pos++
		}
		if s.pos == before {
			return
		}
	}
}

// bare reads a number, a boolean or a date: up to what can follow a value. A
// date may have a space inside.
func (s *scanner) bare() {
	start := s.pos
	if end := bytes.IndexAny(s.data[s.pos:], ",]}#\r\n"); end >= 0 {
		s.pos += end
	} else {
		s.pos = len(s.data)
	}
	s.pos = start + len(bytes.TrimRight(s.data[start:s.pos], " \t"))
}

// quoted reads a string of one of the four kinds.
func (s *scanner) quoted(quote byte) {
	triple := bytes.Repeat([]byte{quote}, 3)
	if !bytes.HasPrefix(s.data[s.pos:], triple) {
		s.line(quote)
		return
	}
	for s.pos += 3; s.pos < len(s.data); s.pos++ {
		if s.data[s.pos] == '\\' && quote == '"' {
			s.pos++
			continue
		}
		if bytes.HasPrefix(s.data[s.pos:], triple) {
			s.pos += 3
			// Up to two more quotes belong to the string itself.
			for i := 0; i < 2 && s.peek() == quote; i++ {
				s.pos++
			}
			return
		}
	}
	s.pos = len(s.data)
}

// line reads a string of one line, or to the line's end when it is not closed.
func (s *scanner) line(quote byte) {
	for s.pos++; s.pos < len(s.data) && s.data[s.pos] != '\n'; s.pos++ {
		switch {
		case s.data[s.pos] == quote:
			s.pos++
			return
		case s.data[s.pos] == '\\' && quote == '"' && s.pos+1 < len(s.data) && s.data[s.pos+1] != '\n':
			s.pos++
		}
	}
}
