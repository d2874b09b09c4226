package tomldoc

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/BurntSushi/toml"
)

// syntax turns the TOML library's error into a problem. The library stops at
// the first one, so there is never a second.
func (d *Document) syntax(err error) {
	var e toml.ParseError
	if !errors.As(err, &e) {
		d.Error(Span{}, err.Error(), "")
		return
	}
	start := min(e.Position.Start, len(d.data))
	if inside, end := d.endsInside(e, string(d.data[start:])); inside != "" {
		last := len(bytes.TrimRight(d.data, " \t\r\n"))
		d.Error(Span{max(0, last-1), last}, "the file ends inside "+inside, "it seems to be cut off: copy it again"+end)
		return
	}
	if word := d.unquoted(start); word != (Span{}) {
		text := string(d.data[word.Start:word.End])
		if after := bytes.TrimLeft(d.data[word.End:], " \t"); bytes.HasPrefix(after, []byte("=")) {
			d.Error(word, "a new key begins here, before the list above has ended", "close the list with ]")
			return
		}
		d.Error(word, fmt.Sprintf("%s is not a value in TOML", text), quoteHint(text))
		return
	}
	start += len(d.data[start:]) - len(bytes.TrimLeft(d.data[start:], " \t"))
	at := Span{start, min(start+max(1, e.Position.Len), len(d.data))}
	switch {
	case strings.HasPrefix(e.Message, "expected a top-level item to end"):
		d.Error(at, "the line goes on after its value", "write every key on a line of its own")
	case strings.HasPrefix(e.Message, "expected a comma"):
		d.Error(at, lower(e.Message), "put commas between the items, and ] at the end")
	case strings.Contains(e.Message, "strings cannot contain newlines"):
		d.Error(at, "a string has no closing quote", "")
	case strings.Contains(e.Message, "expected value but found '\\n'"):
		d.Error(d.lineUpTo(start), "a value is missing after the =", "")
	default:
		d.Error(at, lower(e.Message), "")
	}
}

// endsInside names what a file that was cut off ends inside, and says how that would end; "" where
// the mistake is another. rest is what follows the place of the library's message, which mostly names
// the end of the file, or the zero byte that the library reads there.
func (d *Document) endsInside(e toml.ParseError, rest string) (inside, end string) {
	const list, table = ", or close the list with ]", ", or close the table with }"
	switch m := e.Message; {
	case strings.HasPrefix(m, "unexpected EOF; expected value"):
		if bytes.HasSuffix(bytes.TrimRight(d.data, " \t\r\n"), []byte("=")) {
			return "a line", ""
		}
		return "a list", list
	case strings.HasPrefix(m, "unexpected EOF; expected key"):
		return "a line", ""
	case strings.HasPrefix(m, "unexpected EOF; expected"):
		return "a string", ", or close the string"
	case strings.Contains(m, "array terminator") && strings.Contains(m, "end of file"):
		return "a list", list
	case strings.Contains(m, "table terminator") && strings.Contains(m, "end of file"), rest == "" && strings.Contains(m, "key name appears blank"):
		return "a table", table
	case rest == "" && strings.Contains(m, "table name"), strings.Contains(m, "but got '\\x00'"):
		return "the name of a table", ""
	case strings.HasPrefix(m, "expected value") && rest != "" && (strings.HasPrefix("true", rest) || strings.HasPrefix("false", rest)):
		return "a line", ""
	}
	return "", ""
}

// unquoted returns the word at start when it stands where a value begins: most
// often a string that lacks its quotes.
func (d *Document) unquoted(start int) Span {
	isWord := func(r rune) bool { return !unicode.IsSpace(r) && !strings.ContainsRune("=,[]{}\"'#", r) }
	from := bytes.LastIndexFunc(d.data[:start], func(r rune) bool { return !isWord(r) }) + 1
	length := bytes.IndexFunc(d.data[from:], func(r rune) bool { return !isWord(r) })
	if length < 0 {
		length = len(d.data) - from
	}
	if start >= from+length {
		return Span{}
	}
	word := d.data[from : from+length]
	before := bytes.TrimRight(d.data[:from], " \t\n")
	if !bytes.ContainsFunc(word, unicode.IsLetter) || len(before) == 0 || !bytes.ContainsAny(before[len(before)-1:], "=,[") {
		return Span{}
	}
	if bytes.HasPrefix(bytes.TrimSpace(d.data[bytes.LastIndexByte(d.data[:from], '\n')+1:from]), []byte("[")) {
		return Span{} // a [table], not a value
	}
	return Span{from, from + length}
}

// quoteHint says how to write a word that was meant as a value.
func quoteHint(word string) string {
	if hint := boolHint(word); hint != "" {
		return hint
	}
	return fmt.Sprintf("a string needs plain quotes: %q", strings.Trim(word, "“”„‘’«»`"))
}

// lineUpTo is the text of the line before end, without white space around it.
func (d *Document) lineUpTo(end int) Span {
	begin := bytes.LastIndexByte(d.data[:end], '\n') + 1
	text := d.data[begin:end]
	begin += len(text) - len(bytes.TrimLeft(text, " \t"))
	return Span{begin, max(begin+1, begin+len(bytes.TrimSpace(text)))}
}

// lower makes a library's sentence one of ours: lower case, no full stop.
func lower(message string) string {
	r, size := utf8.DecodeRuneInString(message)
	return string(unicode.ToLower(r)) + strings.TrimSuffix(message[size:], ".")
}
