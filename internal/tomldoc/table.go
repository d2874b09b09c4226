package tomldoc

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Table is a table of a document. Its methods return nil for a key that is not
// set, and also, after noting the problem, for a value of a wrong type.
type Table struct {
	doc    *Document
	node   *node
	values map[string]any
	path   string   // the name, as in [client]; empty for the root
	asked  []string // the keys that there are
}

// Field is a value that is set, with its places.
type Field[T any] struct {
	Value T
	Key   Span // the name of the key; of an item of a list, the item
	At    Span // the value
}

// Texts is a list of strings.
type Texts = Field[[]Field[string]]

// At returns where the table is written: its braces, or the name in its header.
func (t *Table) At() Span { return t.node.valueSpan() }

// Has reports whether a key is set, to whatever type.
func (t *Table) Has(key string) bool {
	_, set := t.values[key]
	return set
}

// Empty reports whether no key is set.
func (t *Table) Empty() bool { return len(t.values) == 0 }

// Text returns a string.
func (t *Table) Text(key string) *Field[string] { return read[string](t, key, "a string", quoted) }

// Port returns a string that is a port. A bare number gets a hint of its own.
func (t *Table) Port(key string) *Field[string] { return read[string](t, key, "a string", asKnock) }

// Time returns a length of time, which is written as a string. For a bare number
// the hint adds the unit that was most likely meant.
func (t *Table) Time(key, unit string) *Field[string] {
	return read[string](t, key, "a string", func(v any) string {
		if n, ok := v.(int64); ok && n >= 0 {
			return fmt.Sprintf("a time needs its unit: write \"%d%s\"", n, unit)
		}
		return ""
	})
}

// Bool returns a boolean.
func (t *Table) Bool(key string) *Field[bool] {
	return read[bool](t, key, "true or false", unquotedBool)
}

// Int returns an integer.
func (t *Table) Int(key string) *Field[int64] { return read[int64](t, key, "an integer", unquotedInt) }

// Table returns a table.
func (t *Table) Table(key string) *Table {
	f := read[map[string]any](t, key, "a table", nil)
	if f == nil {
		return nil
	}
	path := key
	if t.path != "" {
		path = t.path + "." + key
	}
	return &Table{doc: t.doc, node: t.node.get(key), values: f.Value, path: path}
}

// Texts returns a list of strings. Items of other types are problems, and left out.
func (t *Table) Texts(key string) *Texts { return t.texts(key, quoted) }

// Ports returns a list of strings that are ports. A bare number gets a hint of
// its own.
func (t *Table) Ports(key string) *Texts { return t.texts(key, asKnock) }

func (t *Table) texts(key string, hint func(any) string) *Texts {
	list := read[[]any](t, key, "a list of strings", bracketed)
	if list == nil {
		return nil
	}
	texts := &Texts{Key: list.Key, At: list.At, Value: []Field[string]{}}
	for i, v := range list.Value {
		at := t.node.get(key).item(i).valueSpan()
		if text, ok := v.(string); ok {
			texts.Value = append(texts.Value, Field[string]{text, at, at})
		} else {
			t.doc.mismatch(at, "a string", v, hint)
		}
	}
	if len(texts.Value) == 0 && len(list.Value) > 0 {
		return nil // not an empty list: nothing in it could be read
	}
	return texts
}

// TextOrTexts returns a list of strings that may also be written as one string.
func (t *Table) TextOrTexts(key string) *Texts {
	if text, ok := t.values[key].(string); ok {
		f := read[string](t, key, "", nil)
		return &Texts{Key: f.Key, At: f.At, Value: []Field[string]{{text, f.At, f.At}}}
	}
	return t.Texts(key)
}

// Item is an item of a list that may hold strings and tables: one of the two
// is not nil.
type Item struct {
	Text  *Field[string]
	Table *Table
}

// Items returns a list of strings and tables. Items of other types are problems, and left out.
func (t *Table) Items(key string) *Field[[]Item] {
	list := read[[]any](t, key, "a list", bracketed)
	if list == nil {
		return nil
	}
	items := &Field[[]Item]{Key: list.Key, At: list.At, Value: []Item{}}
	for i, v := range list.Value {
		n := t.node.get(key).item(i)
		at := n.valueSpan()
		switch v := v.(type) {
		case string:
			items.Value = append(items.Value, Item{Text: &Field[string]{v, at, at}})
		case map[string]any:
			items.Value = append(items.Value, Item{Table: &Table{doc: t.doc, node: n, values: v, path: fmt.Sprintf("%s %d", key, i+1)}})
		default:
			t.doc.mismatch(at, "a string or a table", v, asKnock)
		}
	}
	if len(items.Value) == 0 && len(list.Value) > 0 {
		return nil
	}
	return items
}

// read returns the value of a key when it has the type. A list of tables counts
// as a list.
func read[T any](t *Table, key, want string, hint func(any) string) *Field[T] {
	t.asked = append(t.asked, key)
	t.doc.asked = append(t.doc.asked, strings.TrimPrefix(t.path+"."+key, "."))
	v, set := t.values[key]
	if !set {
		return nil
	}
	if tables, ok := v.([]map[string]any); ok {
		list := make([]any, len(tables))
		for i := range tables {
			list[i] = tables[i]
		}
		v = list
	}
	n := t.node.get(key)
	value, ok := v.(T)
	if !ok {
		t.doc.mismatch(n.valueSpan(), want, v, hint)
		return nil
	}
	return &Field[T]{value, n.keySpan(), n.valueSpan()}
}

// Unknown notes every key that nobody asked for. Call it last. The hint for a
// key comes from elsewhere, which may return "", or else from the keys there are.
func (t *Table) Unknown(elsewhere func(key string) string) {
	for _, key := range slices.Sorted(maps.Keys(t.values)) {
		if !slices.Contains(t.asked, key) {
			t.doc.unknown(t, key, elsewhere(key))
		}
	}
}
