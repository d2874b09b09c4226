package tomldoc

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/BurntSushi/toml"
)

// Document is a TOML file that was read, with the problems found so far.
type Document struct {
	data     []byte
	root     *Table
	problems []Problem
	asked    []string
}

// Asked returns the keys that the document has been asked for so far, each with its
// table in front, as "client.gap".
func (d *Document) Asked() []string { return d.asked }

// Problem is something that a person should change, and where.
type Problem struct {
	At      Span
	Message string // lower case, no full stop
	Hint    string // what to do about it; may be empty
	Warning bool   // the file can be used all the same
}

// Parse reads a file of at most limit bytes. It always returns a document: what
// could not be read is in its problems, and then its table is empty.
func Parse(data []byte, limit int) *Document {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	d := &Document{data: data}
	d.root = &Table{doc: d}
	if len(data) > limit {
		d.Error(Span{}, fmt.Sprintf("the file has %d bytes; at most %d are read", len(data), limit), "")
		return d
	}
	if at, message, hint := notText(data); message != "" {
		d.Error(at, message, hint)
		return d
	}
	s := scan(data)
	if s.tooDeep != nil {
		d.Error(*s.tooDeep, fmt.Sprintf("this is nested more than %d levels deep", maxDepth), "")
		return d
	}
	values := map[string]any{}
	err := toml.Unmarshal(data, &values)
	for _, r := range s.again {
		line, _, _, _ := d.Locate(r.first)
		d.Error(r.second, fmt.Sprintf("`%s` is set twice", r.name), fmt.Sprintf("it is set in line %d already: keep one of the two", line))
	}
	if err != nil && len(s.again) == 0 {
		d.syntax(err)
	}
	if len(d.problems) == 0 {
		d.root.node, d.root.values = s.root, values
	}
	return d
}

// FromValues returns a document of values that have no places, as from JSON.
func FromValues(values map[string]any) *Document {
	d := &Document{}
	d.root = &Table{doc: d, values: values}
	return d
}

// Root returns the table of the keys that are in no other table.
func (d *Document) Root() *Table { return d.root }

// Error adds a problem because of which the file cannot be used.
func (d *Document) Error(at Span, message, hint string) {
	d.problems = append(d.problems, Problem{At: at, Message: message, Hint: hint})
}

// Warn adds a problem that leaves the file usable.
func (d *Document) Warn(at Span, message, hint string) {
	d.problems = append(d.problems, Problem{At: at, Message: message, Hint: hint, Warning: true})
}

// Problems returns what is wrong, in the order of the file; last what concerns
// the file as a whole, such as a missing key, which often follows from the rest.
func (d *Document) Problems() []Problem {
	at := func(p Problem) int {
		if p.At == (Span{}) {
			return len(d.data)
		}
		return p.At.Start
	}
	sorted := slices.Clone(d.problems)
	slices.SortStableFunc(sorted, func(x, y Problem) int { return cmp.Compare(at(x), at(y)) })
	return sorted
}

// Errors counts the problems that are not only warnings.
func (d *Document) Errors() int {
	n := 0
	for _, p := range d.problems {
		if !p.Warning {
			n++
		}
	}
	return n
}

// Locate returns the line in which a span begins, by its number from 1 and as text, and the
// bytes of the text that the span covers. The zero span has no line: 0, "", 0, 0.
func (d *Document) Locate(at Span) (line int, text string, from, to int) {
	if at == (Span{}) {
		return 0, "", 0, 0
	}
	start := min(at.Start, len(d.data))
	begin := bytes.LastIndexByte(d.data[:start], '\n') + 1
	end := len(d.data)
	if i := bytes.IndexByte(d.data[start:], '\n'); i >= 0 {
		end = start + i
	}
	stop := max(start, min(at.End, end))
	text = string(bytes.TrimSuffix(d.data[begin:end], []byte("\r")))
	return 1 + bytes.Count(d.data[:begin], []byte("\n")), text, min(start-begin, len(text)), min(stop-begin, len(text))
}

// Inside returns the place of text[start:end], where text is the value of the
// string written at a span. A string with escapes or of several lines is given
// as a whole.
func (d *Document) Inside(at Span, text string, start, end int) Span {
	if at.End-at.Start < 2 || at.End > len(d.data) || string(d.data[at.Start+1:at.End-1]) != text || start >= end {
		return at
	}
	return Span{at.Start + 1 + start, at.Start + 1 + end}
}

// Span is a piece of a file: the bytes from Start up to End. The zero Span
// means the file as a whole.
type Span struct{ Start, End int }

// node is where one key, or one item of a list, is written. The methods work on
// a nil node too: a value without a known place has the zero Span.
type node struct {
	key   Span // the name; zero for an item of a list
	value Span // the value; for a table of its own, the name in its header
	table bool // it has a header of its own, [name]
	whole bool // it was set by "key = value": nothing can be added to it
	keys  map[string]*node
	items []*node
}

func (n *node) get(key string) *node {
	if n == nil {
		return nil
	}
	return n.keys[key]
}

func (n *node) item(i int) *node {
	if n == nil || i >= len(n.items) {
		return nil
	}
	return n.items[i]
}

func (n *node) keySpan() Span {
	if n == nil {
		return Span{}
	}
	return n.key
}

func (n *node) valueSpan() Span {
	if n == nil {
		return Span{}
	}
	return n.value
}

// open returns the node of a key, made when it is new. Of a list of tables
// ([[name]]) it is the last table, which is where TOML puts what follows.
func (n *node) open(p part) *node {
	child := n.keys[p.name]
	if child == nil {
		child = &node{key: p.span, value: p.span}
		if n.keys == nil {
			n.keys = map[string]*node{}
		}
		n.keys[p.name] = child
	}
	return child.last()
}

func (n *node) last() *node {
	if len(n.items) > 0 {
		return n.items[len(n.items)-1]
	}
	return n
}
